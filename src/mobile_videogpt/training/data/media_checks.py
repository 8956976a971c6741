"""What a look into a file means for one use of it."""

from __future__ import annotations

from collections.abc import Iterator

from .records import Media
from .workers import Failure, Result


def judge(media: Media, result: Result, min_frames: int) -> Iterator[tuple[str, str]]:
    """Kind and message of what is wrong with one use of a file."""
    if isinstance(result, Failure):
        yield result.kind, result.message
        return
    if 2 * result.decoded < result.sampled:
        yield "undecodable", f"only {result.decoded} of {result.sampled} frames can be decoded."
        return
    if media.kind == "image":
        return
    begin, end = media.start or 0.0, media.end
    duration, fps = result.duration_s, result.fps
    if duration is None or fps is None:
        if media.start is not None or end is not None:
            yield "outside", "start and end mean nothing for a folder of frames without a clock."
            return
        frames = result.frames
    elif begin >= duration:
        yield "outside", f"begins at {begin:g} s, the video ends at {duration:.2f} s."
        return
    else:
        stretch = (duration if end is None else min(end, duration)) - begin
        frames = min(result.frames, max(1, round(stretch * fps)))
    if frames < min_frames:
        yield "too_short", f"{frames} {_frames(frames)}, at least {min_frames} are wanted."


def _frames(number: int) -> str:
    return "frame" if number == 1 else "frames"
