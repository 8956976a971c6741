"""The script of a MovingShapes clip: which shapes there are, how they move, what happens to them.

A clip is a script first and pixels second: `make_clip` draws a script from a seed, `render.py`
paints it, and `questions.py` computes exact answers from the script, never from pixels.
Coordinates are fractions of the frame side (x right, y down); time runs from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .motions import DIRECTIONS, MOTION_MAKERS, Motion, between

COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "white")
SHAPES = ("circle", "square", "triangle", "star", "cross")
SIZES = ("small", "large")
RADII = {"small": 0.095, "large": 0.15}
EVENTS = ("none", "recolor", "grow", "shrink", "appear", "vanish")
# Colour-shape pairs that training never shows: they measure composition, not memory.
HELD_OUT = frozenset(
    {("red", "star"), ("blue", "triangle"), ("green", "cross"), ("yellow", "square")}
)
SPLITS = ("train", "validation", "test")
MARGIN = 0.03  # least gap between two objects that do not touch
_CHECK_TIMES = np.linspace(0.0, 1.0, 33)


@dataclass(frozen=True)
class Event:
    """What happens to one object at `time`; `color` is the new colour of a "recolor"."""

    kind: str = "none"
    time: float = 0.5
    color: str | None = None


@dataclass(frozen=True)
class Shape:
    """One object of the clip. `touches` is the index of the object that this one runs into."""

    color: str
    shape: str
    size: str
    motion: Motion
    event: Event = Event()
    touches: int | None = None

    @property
    def name(self) -> str:
        return f"{self.color} {self.shape}"

    def radii(self, times: np.ndarray) -> np.ndarray:
        """Radius at each time (T,); growing and shrinking take a tenth of the clip."""
        start = RADII[self.size]
        if self.event.kind not in ("grow", "shrink"):
            return np.full(len(times), start)
        end = RADII["large" if self.event.kind == "grow" else "small"]
        progress = np.clip((times - self.event.time) / 0.1, 0.0, 1.0)
        return start + (end - start) * progress

    def visible(self, times: np.ndarray) -> np.ndarray:
        """Whether the object exists at each time (T,) (it may still be outside the frame)."""
        if self.event.kind == "appear":
            return times >= self.event.time
        if self.event.kind == "vanish":
            return times < self.event.time
        return np.ones(len(times), dtype=bool)

    def colors(self, times: np.ndarray) -> list[str]:
        """Colour name at each time (T,)."""
        new = self.event.color or self.color
        return [new if new != self.color and t >= self.event.time else self.color for t in times]


@dataclass(frozen=True)
class Background:
    """A dim backdrop: base grey-ish colour, a second colour, and how the two are laid out."""

    pattern: Literal["plain", "gradient", "checker"]
    base: tuple[int, int, int]
    other: tuple[int, int, int]


@dataclass(frozen=True)
class Clip:
    """The whole script. `seed` and `split` reproduce it exactly."""

    seed: int
    split: str
    shapes: tuple[Shape, ...]
    background: Background

    @property
    def moving(self) -> tuple[Shape, ...]:
        return tuple(shape for shape in self.shapes if shape.motion.is_moving)

    def without(self, index: int) -> tuple[Shape, ...]:
        """The objects as they would be had object `index` not been there (for counterfactuals)."""
        kept = []
        for i, shape in enumerate(self.shapes):
            if i == index:
                continue
            was_pushed = shape.motion.kind == "pushed" and self.shapes[index].touches == i
            kept.append(replace(shape, motion=_still_at(shape.motion)) if was_pushed else shape)
        return tuple(kept)

    def frames(self, num_frames: int = 32, size: int = 128) -> np.ndarray:
        """Paint the clip: uint8 RGB (num_frames, size, size, 3), frame i at time i/num_frames."""
        from .render import render_frames

        return render_frames(self, np.arange(num_frames) / num_frames, size)


def _still_at(motion: Motion) -> Motion:
    return Motion("still", waypoints=(motion.waypoints[0],))


def make_clip(seed: int, split: str = "train") -> Clip:
    """Draw the script of clip `seed`; splits never share a random stream.

    Raises ValueError for an unknown split.

    >>> make_clip(3).shapes == make_clip(3).shapes
    True
    """
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}: use one of {', '.join(SPLITS)}.")
    rng = np.random.default_rng([SPLITS.index(split), seed])
    return Clip(seed, split, _draw_shapes(rng, split), _draw_background(rng))


def _draw_shapes(rng: np.random.Generator, split: str) -> tuple[Shape, ...]:
    count = int(rng.choice([1, 2, 3, 4], p=[0.05, 0.25, 0.40, 0.30]))
    names = _draw_names(rng, count, split)
    placed: list[Shape] = []
    if count >= 2 and rng.random() < 0.4:
        placed = _draw_touching_pair(rng, names)
    while len(placed) < count:
        shape = _place(rng, names[len(placed)], placed, names)
        if shape is None:
            break
        placed.append(shape)
    return tuple(placed)


def _draw_names(rng: np.random.Generator, count: int, split: str) -> list[tuple[str, str]]:
    """Distinct (colour, shape) pairs; usually all colours differ, sometimes two are shared."""
    allowed = [(c, s) for c in COLORS for s in SHAPES if split == "test" or (c, s) not in HELD_OUT]
    is_color_shared = rng.random() < 0.25
    chosen: list[tuple[str, str]] = []
    for i in rng.permutation(len(allowed)):
        color, shape = allowed[i]
        if is_color_shared or all(color != other for other, _ in chosen):
            chosen.append((color, shape))
        if len(chosen) == count:
            break
    return chosen


def _place(
    rng: np.random.Generator,
    name: tuple[str, str],
    placed: list[Shape],
    names: list[tuple[str, str]],
) -> Shape | None:
    """Draw a motion and an event for one object that keeps clear of those already placed."""
    for _ in range(4):  # the kind is drawn first, so that bulky motions are not rejected more often
        event = _draw_event(rng, name, names)
        kind = _draw_kind(rng, event)
        size = {"grow": "small", "shrink": "large"}.get(event.kind) or str(rng.choice(SIZES))
        widest = RADII["large"] if event.kind == "grow" else RADII[size]
        for _ in range(40):
            shape = Shape(*name, size, MOTION_MAKERS[kind](rng, widest), event)
            if all(_gap(shape, other) > MARGIN for other in placed):
                return shape
    return None


def _gap(a: Shape, b: Shape) -> float:
    between = a.motion.positions(_CHECK_TIMES) - b.motion.positions(_CHECK_TIMES)
    distance = np.linalg.norm(between, axis=1)
    return float((distance - a.radii(_CHECK_TIMES) - b.radii(_CHECK_TIMES)).min())


def _draw_event(
    rng: np.random.Generator, name: tuple[str, str], names: list[tuple[str, str]]
) -> Event:
    if rng.random() > 0.4:
        return Event()
    kind = str(rng.choice(EVENTS[1:]))
    time = float(rng.uniform(0.3, 0.7))
    if kind != "recolor":
        return Event(kind, time)
    taken = {color for color, _ in names}
    free = [c for c in COLORS if c not in taken and (c, name[1]) not in HELD_OUT]
    return Event(kind, time, str(rng.choice(free)))


def _draw_kind(rng: np.random.Generator, event: Event) -> str:
    if event.kind in ("appear", "vanish"):  # half a life is too short for a compound motion
        return str(rng.choice(["still", "circle"], p=[0.85, 0.15]))
    if event.kind != "none":
        return str(rng.choice(["still", "straight", "circle"], p=[0.45, 0.45, 0.1]))
    kinds = ["still", "straight", "bounce", "circle", "enter", "leave", "sequence"]
    return str(rng.choice(kinds, p=[0.12, 0.16, 0.2, 0.08, 0.1, 0.1, 0.24]))


def _draw_touching_pair(rng: np.random.Generator, names: list[tuple[str, str]]) -> list[Shape]:
    """The first object runs into the second and stops; the second stays or is pushed along."""
    direction = str(rng.choice(list(DIRECTIONS)))
    dx, dy = DIRECTIONS[direction]
    sizes = [str(size) for size in rng.choice(SIZES, size=2)]
    r_hitter, r_target = (RADII[size] for size in sizes)
    is_push = rng.random() < 0.5
    run = between(rng, 0.25, 0.35)
    push = between(rng, 0.2, 0.26) if is_push else 0.0
    touch_time = between(rng, 0.45, 0.6)
    reach = 0.93 * (r_hitter + r_target)  # a little overlap, so that the touch can be seen
    extent = r_hitter + run + reach + push + r_target
    if extent > 1.0:
        run -= extent - 1.0
        extent = 1.0
    start = r_hitter + between(rng, 0.0, 1.0 - extent)
    across = between(rng, RADII["large"], 1 - RADII["large"])
    offset = between(rng, -0.03, 0.03)

    def point(along: float, sideways: float) -> tuple[float, float]:
        along = along if dx + dy > 0 else 1.0 - along
        return (along, sideways) if dx else (sideways, along)

    contact = point(start + run, across)
    hitter = Motion(
        "straight",
        ((0.0, *point(start, across)), (touch_time, *contact), (1.0, *contact)),
        direction,
        direction,
    )
    rest = point(start + run + reach, across + offset)
    if is_push:
        end = point(start + run + reach + push, across + offset)
        target = Motion(
            "pushed", ((0.0, *rest), (touch_time, *rest), (1.0, *end)), "none", direction
        )
    else:
        target = Motion("still", ((0.0, *rest),))
    return [
        Shape(*names[0], sizes[0], hitter, touches=1),
        Shape(*names[1], sizes[1], target),
    ]


def _draw_background(rng: np.random.Generator) -> Background:
    pattern = str(rng.choice(["plain", "gradient", "checker"]))
    base = rng.integers(10, 70) + rng.integers(-10, 11, size=3)
    other = base + rng.integers(8, 28)
    as_rgb = [tuple(int(v) for v in np.clip(c, 0, 255)) for c in (base, other)]
    return Background(pattern, *as_rgb)  # type: ignore[arg-type]
