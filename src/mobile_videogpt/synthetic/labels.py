"""What is where in a clip, as integer arrays: the dense targets of the miniature's stage 0."""

from __future__ import annotations

import numpy as np

from .motions import DIRECTIONS, MOTIONS
from .world import COLORS, EVENTS, RADII, SHAPES, Clip, Shape

DIRECTION_CLASSES = ("none", *DIRECTIONS)
# Attribute -> number of classes. The first three can be seen in one frame; the rest needs the clip.
FRAME_ATTRIBUTES = {"color": len(COLORS), "shape": len(SHAPES), "size": 2}
CLIP_ATTRIBUTES = {
    "motion": len(MOTIONS),
    "first": len(DIRECTION_CLASSES),
    "second": len(DIRECTION_CLASSES),
    "bounces": 4,
    "event": len(EVENTS),
    "becomes": len(COLORS) + 1,
    "touch": 3,
    "partner_color": len(COLORS) + 1,
    "partner_shape": len(SHAPES) + 1,
}
MAX_SHAPES = 4


def patch_owners(clip: Clip, times: np.ndarray, grid: int) -> np.ndarray:
    """Which object covers most of each patch: int8 (T, grid, grid), -1 for background."""
    points = (np.arange(2 * grid) + 0.5) / (2 * grid)  # two by two probes a patch
    votes = np.zeros((len(clip.shapes), len(times), grid, grid), dtype=np.int8)
    taken = np.zeros((len(times), 2 * grid, 2 * grid), dtype=bool)
    for i in reversed(range(len(clip.shapes))):  # painted last = on top
        shape = clip.shapes[i]
        centres, radii = shape.motion.positions(times), shape.radii(times)
        dx = points[None, None, :] - centres[:, 0, None, None]
        dy = points[None, :, None] - centres[:, 1, None, None]
        inside = dx**2 + dy**2 < (0.95 * radii[:, None, None]) ** 2
        inside &= shape.visible(times)[:, None, None] & ~taken
        taken |= inside
        votes[i] = inside.reshape(len(times), grid, 2, grid, 2).sum(axis=(2, 4))
    return np.where(votes.max(axis=0) > 0, votes.argmax(axis=0), -1).astype(np.int8)


def frame_attributes(clip: Clip, times: np.ndarray) -> np.ndarray:
    """Colour, shape and size of each object at each time: int8 (objects, T, 3)."""
    rows = []
    middle = sum(RADII.values()) / 2
    for shape in clip.shapes:
        colors = [COLORS.index(color) for color in shape.colors(times)]
        shapes = [SHAPES.index(shape.shape)] * len(times)
        rows.append(np.stack([colors, shapes, shape.radii(times) > middle], axis=1))
    return np.stack(rows).astype(np.int8)


def clip_attributes(clip: Clip) -> np.ndarray:
    """What each object does, in the order of CLIP_ATTRIBUTES: int8 (objects, 9)."""
    return np.array([_clip_row(clip, i, s) for i, s in enumerate(clip.shapes)], dtype=np.int8)


def _clip_row(clip: Clip, index: int, shape: Shape) -> list[int]:
    motion, event = shape.motion, shape.event
    hitter = next((s for s in clip.shapes if s.touches == index), None)
    partner = clip.shapes[shape.touches] if shape.touches is not None else hitter
    return [
        MOTIONS.index(motion.kind),
        DIRECTION_CLASSES.index(motion.first),
        DIRECTION_CLASSES.index(motion.second),
        motion.bounces,
        EVENTS.index(event.kind),
        COLORS.index(event.color) + 1 if event.color else 0,
        0 if partner is None else (2 if hitter else 1),
        0 if partner is None else COLORS.index(partner.color) + 1,
        0 if partner is None else SHAPES.index(partner.shape) + 1,
    ]


def velocities(clip: Clip, times: np.ndarray) -> np.ndarray:
    """Mean velocity around each time, in frame sides a clip: float32 (objects, T, 2)."""
    step = 0.5 * (times[1] - times[0])
    ahead = [s.motion.positions(np.clip(times + step, 0, 1)) for s in clip.shapes]
    behind = [s.motion.positions(np.clip(times - step, 0, 1)) for s in clip.shapes]
    return ((np.stack(ahead) - np.stack(behind)) / (2 * step)).astype(np.float32)


def offsets(clip: Clip, times: np.ndarray, grid: int) -> np.ndarray:
    """From each patch centre to its owner's centre, in patches: float32 (T, grid, grid, 2)."""
    owners = patch_owners(clip, times, grid)
    centres = np.stack([s.motion.positions(times) for s in clip.shapes])  # (objects, T, 2)
    own = centres[np.maximum(owners, 0), np.arange(len(times))[:, None, None]]
    x, y = np.meshgrid((np.arange(grid) + 0.5) / grid, (np.arange(grid) + 0.5) / grid)
    return ((own - np.stack([x, y], axis=-1)) * grid * (owners >= 0)[..., None]).astype(np.float32)
