"""Video files to measure with, written on the fly: real H.264, as phones make them."""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

SECONDS, FPS = 20, 24
SIZES = {"1080p": (1920, 1080), "224p": (224, 224)}  # width, height


def make_clip_file(name: str, folder: Path) -> Path:
    """The clip of one of `SIZES`, 20 s of H.264 at 24 frames/s; made once per folder."""
    path = folder / f"clip-{name}-{SECONDS}s.mp4"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            partial = Path(scratch) / path.name
            _write(partial, *SIZES[name])
            os.replace(partial, path)
    return path


def _write(path: Path, width: int, height: int) -> None:
    """Encode with libx264's own defaults for key frames: a long way between two of them."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        scene = _scene(width, height)
        for index in range(SECONDS * FPS):
            frame = _frame(scene, index, width, height)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _scene(width: int, height: int) -> np.ndarray:
    """A landscape twice as wide as the picture: shapes with fine grain, uint8 (H, 2 W, 3)."""
    rng = np.random.default_rng(0)
    scene = np.zeros((height, 2 * width, 3), dtype=np.float32)
    for cell, strength in ((height // 3, 90.0), (height // 9, 40.0), (max(height // 50, 1), 12.0)):
        coarse = rng.standard_normal((height // cell + 2, 2 * width // cell + 2, 3))
        rows = np.arange(height) / cell
        columns = np.arange(2 * width) / cell
        scene += strength * _smooth(coarse.astype(np.float32), rows, columns)
    return np.clip(scene + 128, 0, 255).astype(np.uint8)


def _smooth(coarse: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`coarse` (h, w, 3) at fractional rows and columns, bilinear."""
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None, None], (columns - left)[None, :, None]
    strip = coarse[top] * (1 - down) + coarse[top + 1] * down
    return strip[:, left] * (1 - right) + strip[:, left + 1] * right


def _frame(scene: np.ndarray, index: int, width: int, height: int) -> np.ndarray:
    """The camera pans over the scene while a square crosses the picture. uint8 (H, W, 3)."""
    at = index * width // (SECONDS * FPS)
    frame = scene[:, at : at + width].copy()
    side = height // 5
    x = (width - side) * (index % (5 * FPS)) // (5 * FPS)
    frame[2 * side : 3 * side, x : x + side] = (220, 40, 40)
    return frame
