"""A video from its first frame to its last at a steady rate, for looking at it as it goes by."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.source import open_source, read_without_gaps, select_stretch

# Frames that are decoded at once: few, so that the first come soon and memory stays small.
FRAMES_AT_ONCE = 8


def stream_frames(
    source: Any,
    *,
    rate: float = 1.0,
    start: float | None = None,
    end: float | None = None,
    fps: float | None = None,
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (seconds since the first frame of the file, uint8 (H, W, 3)) in time order.

    Args:
        source: anything that `read_video` takes.
        rate: frames per second; a video with fewer gives all it has.
        start: first second; None for the beginning.
        end: last second; None for the end.
        fps: clock of a source that has none (folder, array, list); without it every frame comes.

    Raises:
        VideoError: for anything that is not a readable video or stretch of one, or a bad rate.
    """
    if not rate > 0:
        raise VideoError(f"rate is {rate}: it must be a positive number of frames per second.")
    opened = open_source(source, fps=fps)
    times = opened.times()
    first, last = select_stretch(opened, times, start, end)
    stride = 1 if opened.fps is None else max(1, round(opened.fps / rate))
    indices = list(range(first, last + 1, stride))
    for begin in range(0, len(indices), FRAMES_AT_ONCE):
        some = indices[begin : begin + FRAMES_AT_ONCE]
        for index, frame in zip(some, read_without_gaps(opened, some), strict=True):
            yield float(times[index]), frame
