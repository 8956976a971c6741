"""Small real videos whose every frame says which one it is."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 8


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A frame, uint8 (H, W, 3): ``number`` in binary, one vertical bar per bit, lowest left."""
    bars = np.array([(number >> bit) & 1 for bit in range(BITS)], dtype=np.uint8) * 255
    columns = bars[np.arange(width) * BITS // width]
    return np.broadcast_to(columns[None, :, None], (height, width, 3)).copy()


def number_of(frame: np.ndarray) -> int:
    """The number that `picture` wrote, read from the middle row."""
    height, width = frame.shape[:2]
    middles = [width * (2 * bit + 1) // (2 * BITS) for bit in range(BITS)]
    return sum(int(frame[height // 2, x].mean() > 127) << bit for bit, x in enumerate(middles))


def write_clip(
    path: Path,
    frames: int | Sequence[np.ndarray] = 60,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    fps: int = 24,
    size: tuple[int, int] = (64, 48),
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    container_format: str | None = None,
) -> Path:
    """Encode numbered pictures, or ``frames`` themselves; returns ``path``."""
    images = frames
    if isinstance(frames, int):
        images = [picture(number, *size) for number in range(frames)]
    height, width, channels = images[0].shape
    output = av.open(str(path), "w", format=container_format, options=container or {})
    with output:
        stream = output.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if rotation:
            stream.set_display_rotation(rotation)
        if time_base:
            stream.codec_context.time_base = time_base
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgba" if channels == 4 else "rgb24")
            frame.pts = number if pts is None else pts[number]
            if time_base:
                frame.time_base = time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_audio(path: Path) -> Path:
    """A second of silence and no picture."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=8000)
        for start in range(0, 8192, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 8000, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path
