"""A window that slides over a stream of frames; each frame is encoded once, however many see it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.rgb import rgb_from_array
from mobile_videogpt.video.source import VideoClip
from mobile_videogpt.video.stream import stream_frames


def timed_frames(
    source: Any, rate: float, start: float | None, end: float | None, fps: float | None
) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds, frame) of a video at `rate`, or of an iterator as they come.

    Args:
        source: anything that `read_video` takes; or an iterator of frames, or of (seconds, frame).
        rate: frames per second of a video; an iterator decides for itself.
        start, end: part of a video.
        fps: clock of a source without one; of an iterator of bare frames, 1 if None.

    Raises:
        ValueError: start or end for an iterator, which has no beginning to count from.
    """
    if not isinstance(source, Iterator) or hasattr(source, "read"):
        return stream_frames(source, rate=rate, start=start, end=end, fps=fps)
    if start is not None or end is not None:
        raise ValueError("start and end are for videos; an iterator of frames begins where it is")
    return _from_iterator(source, fps or 1.0)


def _from_iterator(source: Iterator[Any], fps: float) -> Iterator[tuple[float, np.ndarray]]:
    for number, item in enumerate(source):
        seconds, frame = item if isinstance(item, tuple) else (number / fps, item)
        yield float(seconds), rgb_from_array(frame)


def slide(
    frames: Iterable[tuple[float, np.ndarray]], size: int, hop: int, name: str
) -> Iterator[VideoClip]:
    """Windows of the last `size` frames, the first when there are so many, then every `hop`.

    Frames that remain at the end make a last window, which ends with the last frame; a stream of
    fewer than `size` frames makes one, padded by repeating its last frame.

    Args:
        frames: (seconds, uint8 (H, W, 3)) in time order.
        size: frames of a window.
        hop: new frames from one window to the next, 1 to `size`.
        name: of the source, for messages.

    Raises:
        ValueError: `hop` is out of range.
        VideoError: there is no frame at all.
    """
    if not 1 <= hop <= size:
        raise ValueError(f"hop is {hop}; a window of {size} frames moves on by 1 to {size} frames")
    return _slide(frames, size, hop, name)


def _slide(
    frames: Iterable[tuple[float, np.ndarray]], size: int, hop: int, name: str
) -> Iterator[VideoClip]:
    window: deque[tuple[int, float, np.ndarray]] = deque(maxlen=size)
    waiting = size  # frames until the next window
    number = 0
    for number, (seconds, frame) in enumerate(frames, start=1):
        window.append((number - 1, seconds, frame))
        waiting -= 1
        if not waiting:
            yield clip_of(window, size, name)
            waiting = hop
    if not number:
        raise VideoError(f"{name} gave no frame: there is nothing to look at.")
    if number < size or waiting < hop:
        yield clip_of(window, size, name)


def clip_of(window: Iterable[tuple[int, float, np.ndarray]], size: int, name: str) -> VideoClip:
    """A window as a clip of `size` frames, padded by repeating its last one.

    Args:
        window: (number, seconds, uint8 (H, W, 3)) in time order: 1 to `size` of them.
        size: frames of the clip.
        name: of the source.
    """
    indices, times, frames = (list(column) for column in zip(*window, strict=True))
    missing = size - len(frames)
    height, width = frames[0].shape[:2]
    span = times[-1] - times[0]
    return VideoClip(
        frames=frames + frames[-1:] * missing,
        frame_times=times + times[-1:] * missing,
        frame_indices=indices + indices[-1:] * missing,
        fps=(len(times) - 1) / span if span > 0 else 1.0,
        duration_s=None,  # of the whole source, which may have no end
        num_frames=indices[-1] + 1,
        width=width,
        height=height,
        name=name,
    )
