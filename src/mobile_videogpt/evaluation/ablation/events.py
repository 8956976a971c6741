"""When things happen in a MovingShapes clip, and which sampled frames show it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...synthetic.world import Clip, Shape

RESIZE_DURATION = 0.1  # growing and shrinking take a tenth of the clip, see `Shape.radii`


@dataclass(frozen=True)
class Happening:
    """One thing that happens to one object, from `begin` to `end` (clip times, 0 to 1)."""

    kind: str
    begin: float
    end: float

    def frames(self, num_frames: int) -> tuple[int, int] | None:
        """The last sampled frame before it and the first one after it: what shows that it was.

        None where one of the two lies outside the clip. Frame i is at time i / `num_frames`.

        >>> Happening("recolor", 0.5, 0.5).frames(16), Happening("recolor", 0.51, 0.51).frames(16)
        ((7, 8), (8, 9))
        """
        before = math.ceil(self.begin * num_frames) - 1
        after = math.ceil(self.end * num_frames)
        return (before, after) if before >= 0 and after < num_frames else None


def happenings(clip: Clip) -> list[Happening]:
    """Everything that questions ask about and that has a moment, object by object.

    Changes of an object (recolor, grow, shrink, appear, vanish), two objects touching, and turns:
    where a bouncing or turning object changes its direction.
    """
    return [happening for shape in clip.shapes for happening in _of_shape(shape)]


def _of_shape(shape: Shape) -> list[Happening]:
    found = []
    kind, time = shape.event.kind, shape.event.time
    if kind != "none":
        lasts = RESIZE_DURATION if kind in ("grow", "shrink") else 0.0
        found.append(Happening(kind, time, time + lasts))
    inner = [waypoint[0] for waypoint in shape.motion.waypoints[1:-1]]
    if shape.touches is not None:
        found.append(Happening("touch", inner[0], inner[0]))
    elif shape.motion.kind in ("bounce", "sequence"):
        found += [Happening("turn", at, at) for at in inner]
    return found
