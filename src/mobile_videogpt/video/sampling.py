"""Which frames of a video the model sees: one per second, thinned evenly to ``count``.

The rule is that of the released evaluation code (paper, section 4.1: "sampled at 1 fps, then
16 frames uniformly"), kept index for index wherever that code runs, including its quirks:

* seconds lose their fraction (``whole_seconds=True``); `read_video` asks for exact ones instead;
* with fewer than ``count`` one-per-second positions, ``count`` positions are spread with a
  floored stride, so up to ``count - 2`` of the last frames may never be looked at;
* ``start == end`` means the one second that begins there; ``start > end`` is turned round.

Where the released code crashes, ours goes on or says why not: half a frame per second or less
(its stride rounds to 0; ours is at least 1), a stretch of a single frame (that frame), a start
past the end (`VideoError`).  Nothing here decodes, and padding is the reader's business.
"""

import math

from mobile_videogpt.video.errors import VideoError

# Float slack for exact seconds: 2.3 * 10 is 22.999999999999996, and the user means frame 23.
_INDEX_SLACK = 1e-6


def sample_frame_indices(
    num_frames: int,
    fps: float | None,
    start: float | None = None,
    end: float | None = None,
    *,
    count: int = 16,
    rate: float = 1.0,
    whole_seconds: bool = True,
) -> list[int]:
    """Choose at most ``count`` frame indices, ascending, from a video or a stretch of it.

    A stretch with fewer than ``count`` frames gives each of its frames once: the caller pads.

    Args:
        num_frames: frames in the file, at least 1.
        fps: average frames per second; ``None`` when the source has no clock (a folder of
            pictures), which spreads ``count`` positions over all frames.
        start: first second of the stretch; negative means 0; ``None`` the beginning.
        end: last second of the stretch; beyond the file means its end; ``None`` the end.
        count: most indices to return.
        rate: positions per second before thinning.
        whole_seconds: cut ``start`` and ``end`` to whole seconds, as the released code does.

    Raises:
        VideoError: no frames, a start past the end, a bad rate, or seconds without a clock.

    >>> sample_frame_indices(900, 30.0)
    [0, 30, 90, 150, 210, 270, 330, 390, 450, 510, 570, 630, 690, 750, 810, 870]
    >>> sample_frame_indices(32, 8.0)
    [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30]
    >>> sample_frame_indices(5, 25.0)
    [0, 1, 2, 3, 4]
    """
    _check(num_frames, fps, count, rate)
    if fps is None:
        if start is not None or end is not None:
            raise VideoError(
                "start and end need a frame rate, which this source does not have: pass fps."
            )
        return spread_evenly(num_frames, count)
    first, last = frame_window(num_frames, fps, start, end, whole_seconds=whole_seconds)
    return [first + offset for offset in _offsets(last - first + 1, fps, count, rate)]


def frame_window(
    num_frames: int,
    fps: float,
    start: float | None = None,
    end: float | None = None,
    *,
    whole_seconds: bool = True,
) -> tuple[int, int]:
    """First and last frame index, both included, of the stretch from ``start`` to ``end``."""
    begin, finish = order_seconds(start, end, whole_seconds=whole_seconds)
    slack = 0.0 if whole_seconds else _INDEX_SLACK
    first = int(begin * fps + slack)
    last = num_frames - 1 if finish is None else int(min(finish * fps + slack, num_frames - 1))
    if first >= num_frames:
        raise VideoError(start_past_the_end(begin, num_frames / fps))
    return first, max(first, last)


def order_seconds(
    start: float | None, end: float | None, *, whole_seconds: bool = False
) -> tuple[float, float | None]:
    """Seconds as the released code reads them: not negative, in order, never an empty stretch."""
    for name, value in (("start", start), ("end", end)):
        if value is not None and not math.isfinite(value):
            raise VideoError(f"{name} is {value}, which is no time: give it in seconds, as 1.5.")
    cut = (lambda value: float(int(value))) if whole_seconds else float
    begin = max(0.0, cut(start)) if start is not None else 0.0
    if end is None:
        return begin, None
    finish = max(0.0, cut(end))
    if begin > finish:
        begin, finish = finish, begin
    return begin, finish if finish > begin else begin + 1.0


def start_past_the_end(start: float, duration_s: float) -> str:
    """The message for a stretch that begins where the video is over."""
    return (
        f"the start at {start:g} s is past the end of the video, which lasts {duration_s:.2f} s: "
        "choose an earlier start."
    )


def spread_evenly(num_frames: int, count: int) -> list[int]:
    """Starts of ``count`` equal parts of ``num_frames`` frames; every frame when there are fewer.

    >>> spread_evenly(45, 16)
    [0, 2, 5, 8, 11, 14, 16, 19, 22, 25, 28, 30, 33, 36, 39, 42]
    """
    if num_frames <= count:
        return list(range(num_frames))
    return [index * num_frames // count for index in range(count)]


def _offsets(length: int, fps: float, count: int, rate: float) -> list[int]:
    """Released rule over a stretch of ``length`` frames, counted from its first frame."""
    stride = max(1, round(fps / rate))  # Python rounds half to even here, and so did they
    positions = range(0, length, stride)
    if len(positions) > count:
        return [positions[index] for index in _truncated_linspace(len(positions) - 1, count)]
    if len(positions) < count:
        wanted = min(count, length)
        stride = max(1, (length - 1) // (wanted - 1)) if wanted > 1 else 1
        positions = range(0, wanted * stride, stride)
    return list(positions)


def _truncated_linspace(stop: int, count: int) -> list[int]:
    """``numpy.linspace(0, stop, count)`` cut to integers, float error included.

    In exact arithmetic some of these would be one higher; parity decides.
    """
    if count == 1:
        return [0]
    step = stop / (count - 1)
    return [int(index * step) for index in range(count - 1)] + [stop]


def _check(num_frames: int, fps: float | None, count: int, rate: float) -> None:
    if num_frames < 1:
        raise VideoError(f"a video of {num_frames} frames has nothing to sample: give at least 1.")
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise VideoError(f"the frame rate is {fps}: it must be a positive number, or None.")
    if count < 1:
        raise VideoError(f"count is {count}: ask for at least 1 frame.")
    if not (math.isfinite(rate) and rate > 0):
        raise VideoError(f"rate is {rate}: it must be a positive number of frames per second.")
