"""How one object of a MovingShapes clip moves: its path, and how such paths are drawn.

Coordinates are fractions of the frame side (x right, y down); time runs from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
SIDE_OF_DIRECTION = {"left": "left", "right": "right", "up": "top", "down": "bottom"}
MOTIONS = ("still", "straight", "bounce", "circle", "enter", "leave", "sequence", "pushed")


@dataclass(frozen=True)
class Motion:
    """How one object moves.

    `first` and `second` are the directions in the first and second half ("none" when still,
    circling or bouncing); `waypoints` are (time, x, y) of a piecewise-linear path. A circling
    object has `circle` = (centre x, centre y, radius, phase, turns) instead.
    """

    kind: str
    waypoints: tuple[tuple[float, float, float], ...] = ()
    first: str = "none"
    second: str = "none"
    bounces: int = 0
    circle: tuple[float, float, float, float, float] | None = None

    @property
    def is_moving(self) -> bool:
        return self.kind != "still"

    def positions(self, times: np.ndarray) -> np.ndarray:
        """Centres at `times` (T,) in [0, 1] -> (T, 2)."""
        if self.circle is not None:
            x, y, radius, phase, turns = self.circle
            angle = phase + 2 * math.pi * turns * times
            return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)
        path = np.array(self.waypoints)
        return np.stack([np.interp(times, path[:, 0], path[:, i]) for i in (1, 2)], axis=1)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A uniform draw as a plain float."""
    return float(rng.uniform(low, high))


def _make_still(rng: np.random.Generator, radius: float) -> Motion:
    x, y = rng.uniform(radius, 1 - radius, size=2)
    return Motion("still", waypoints=((0.0, float(x), float(y)),))


def _make_straight(rng: np.random.Generator, radius: float) -> Motion:
    direction = str(rng.choice(list(DIRECTIONS)))
    length = between(rng, 0.4, 0.65)
    start, end = _segment(rng, radius, direction, length)
    return Motion("straight", ((0.0, *start), (1.0, *end)), direction, direction)


def _segment(
    rng: np.random.Generator, radius: float, direction: str, length: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """A start and an end inside the frame, `length` apart along `direction`."""
    dx, dy = DIRECTIONS[direction]
    along = between(rng, radius, 1 - radius - length)
    across = between(rng, radius, 1 - radius)
    begin, finish = (along, along + length) if dx + dy > 0 else (along + length, along)
    if dx:
        return (begin, across), (finish, across)
    return (across, begin), (across, finish)


def _make_bounce(rng: np.random.Generator, radius: float) -> Motion:
    """To and fro between two turning points; `bounces` is the number of turns."""
    bounces = int(rng.integers(1, 4))
    direction = str(rng.choice(list(DIRECTIONS)))
    start, end = _segment(rng, radius, direction, between(rng, 0.3, 0.5))
    legs = bounces + 1
    points = tuple((i / legs, *(end if i % 2 else start)) for i in range(legs + 1))
    return Motion("bounce", points, bounces=bounces)


def _make_circle(rng: np.random.Generator, radius: float) -> Motion:
    orbit = between(rng, 0.14, 0.2)
    x, y = rng.uniform(radius + orbit, 1 - radius - orbit, size=2)
    turns = between(rng, 0.9, 1.4) * (1 if rng.random() < 0.5 else -1)
    return Motion("circle", circle=(float(x), float(y), orbit, between(rng, 0, 2 * math.pi), turns))


def _outside(radius: float, direction: str, across: float) -> tuple[float, float]:
    """The point just beyond the edge towards which `direction` points."""
    dx, dy = DIRECTIONS[direction]
    edge = 1 + radius + 0.01 if dx + dy > 0 else -radius - 0.01
    return (edge, across) if dx else (across, edge)


def _make_enter(rng: np.random.Generator, radius: float) -> Motion:
    direction = str(rng.choice(list(DIRECTIONS)))
    across = between(rng, radius, 1 - radius)
    x, y = start = _outside(radius, OPPOSITE[direction], across)
    dx, dy = DIRECTIONS[direction]
    travel = 2 * radius + between(rng, 0.3, 0.5)
    end = (x + dx * travel, y + dy * travel)
    begin, arrive = between(rng, 0.05, 0.2), between(rng, 0.65, 0.85)
    points = ((0.0, *start), (begin, *start), (arrive, *end), (1.0, *end))
    return Motion("enter", points, direction, direction)


def _make_leave(rng: np.random.Generator, radius: float) -> Motion:
    direction = str(rng.choice(list(DIRECTIONS)))
    across = between(rng, radius, 1 - radius)
    x, y = end = _outside(radius, direction, across)
    dx, dy = DIRECTIONS[direction]
    travel = 2 * radius + between(rng, 0.3, 0.5)
    start = (x - dx * travel, y - dy * travel)
    begin, gone = between(rng, 0.15, 0.35), between(rng, 0.8, 0.95)
    points = ((0.0, *start), (begin, *start), (gone, *end), (1.0, *end))
    return Motion("leave", points, direction, direction)


def _make_sequence(rng: np.random.Generator, radius: float) -> Motion:
    """One direction in the first half, a perpendicular one (or rest) in the second."""
    first = str(rng.choice([*DIRECTIONS, "none"], p=[0.2, 0.2, 0.2, 0.2, 0.2]))
    others = [d for d in DIRECTIONS if d not in (first, OPPOSITE.get(first))]
    if first != "none":
        others.append("none")
    second = str(rng.choice(others))
    steps = [
        np.array(DIRECTIONS.get(d, (0.0, 0.0))) * between(rng, 0.3, 0.45) for d in (first, second)
    ]
    offsets = np.cumsum([np.zeros(2), *steps], axis=0)
    low, high = radius - offsets.min(axis=0), 1 - radius - offsets.max(axis=0)
    start = rng.uniform(low, np.maximum(high, low))
    times = (0.0, 0.5, 1.0)
    corners = (start + offsets).tolist()
    points = tuple((t, x, y) for t, (x, y) in zip(times, corners, strict=True))
    return Motion("sequence", points, first, second)


MOTION_MAKERS: dict[str, Callable[[np.random.Generator, float], Motion]] = {
    "still": _make_still,
    "straight": _make_straight,
    "bounce": _make_bounce,
    "circle": _make_circle,
    "enter": _make_enter,
    "leave": _make_leave,
    "sequence": _make_sequence,
}
