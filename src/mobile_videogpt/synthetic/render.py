"""Scripts to pixels: anti-aliased shapes on a dim background, in plain NumPy."""

from __future__ import annotations

import numpy as np

from .world import Background, Clip, Shape

RGB = {
    "red": (225, 40, 40),
    "green": (45, 180, 60),
    "blue": (50, 85, 235),
    "yellow": (240, 220, 50),
    "purple": (165, 50, 200),
    "orange": (250, 140, 25),
    "cyan": (50, 215, 225),
    "white": (245, 245, 245),
}


def render_frames(clip: Clip, times: np.ndarray, size: int) -> np.ndarray:
    """Paint the clip at `times` (T,) -> uint8 RGB (T, size, size, 3)."""
    canvas = np.repeat(_paint_background(clip.background, size)[None], len(times), axis=0)
    for shape in clip.shapes:
        _paint_shape(canvas, shape, times)
    return np.rint(canvas).astype(np.uint8)


def _paint_background(background: Background, size: int) -> np.ndarray:
    base, other = (np.array(c, dtype=np.float32) for c in (background.base, background.other))
    ramp = (np.arange(size, dtype=np.float32) + 0.5) / size
    if background.pattern == "plain":
        mix = np.zeros((size, size), dtype=np.float32)
    elif background.pattern == "gradient":
        mix = np.broadcast_to(ramp[:, None], (size, size))
    else:
        cell = (ramp * 8).astype(int)
        mix = ((cell[:, None] + cell[None, :]) % 2).astype(np.float32)
    return base + (other - base) * mix[..., None]


def _paint_shape(canvas: np.ndarray, shape: Shape, times: np.ndarray) -> None:
    size = canvas.shape[1]
    centres = shape.motion.positions(times) * size
    radii = shape.radii(times) * size
    visible, colors = shape.visible(times), shape.colors(times)
    for t in np.flatnonzero(visible):
        (x, y), radius = centres[t], radii[t]
        x0, x1 = max(int(x - radius) - 1, 0), min(int(x + radius) + 3, size)
        y0, y1 = max(int(y - radius) - 1, 0), min(int(y + radius) + 3, size)
        if x0 >= x1 or y0 >= y1:
            continue
        # In float64: the last bit of a sine or a root, in which processors differ, never shows.
        u = (np.arange(x0, x1, dtype=np.float64) + 0.5 - x) / radius
        v = (np.arange(y0, y1, dtype=np.float64) + 0.5 - y) / radius
        outside = _DISTANCES[shape.shape](u[None, :], v[:, None]) * radius  # pixels, < 0 inside
        cover = np.clip(0.5 - outside, 0.0, 1.0)[..., None]
        window = canvas[t, y0:y1, x0:x1]
        window += cover * (np.array(RGB[colors[t]], dtype=np.float32) - window)


def _circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.hypot(u, v) - 1.0


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) - 0.86


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(0.8944 * np.abs(u) - 0.4472 * v - 0.42, v - 0.85)


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    angle = np.arctan2(u, -v)
    wedge = np.abs((angle / (2 * np.pi / 5) + 0.5) % 1.0 - 0.5) * 2  # 0 at a tip, 1 in a notch
    return np.hypot(u, v) - (1.05 - 0.62 * wedge)


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    a, b = np.abs(u), np.abs(v)
    return np.minimum(np.maximum(a - 0.98, b - 0.3), np.maximum(a - 0.3, b - 0.98))


_DISTANCES = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
}
