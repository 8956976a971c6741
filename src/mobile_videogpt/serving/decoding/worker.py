"""A decoding process: one file in, its frames out, until its pipe ends.

Run by `pool`; imports neither torch nor the model, so that it starts fast and stays small.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from mobile_videogpt.serving.decoding.checks import check_picture, check_times, check_video
from mobile_videogpt.serving.decoding.limits import allow_seconds, limit_process
from mobile_videogpt.serving.decoding.wire import (
    Sampling,
    WireError,
    read_bytes,
    read_header,
    write_clip,
    write_message,
)
from mobile_videogpt.serving.settings import DecodingLimits
from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.rgb import rgb_from_image
from mobile_videogpt.video.source import VideoClip, read_video

UNREADABLE = "the video cannot be read: the file is damaged, or its codec is not supported."
TOO_MUCH_MEMORY = "the video needs more memory to decode than is allowed: make it smaller."


def main() -> int:
    """Serve the pipe on standard input and output."""
    requests = sys.stdin.buffer
    replies = _take_standard_output()
    logging.disable(logging.CRITICAL)
    limits = DecodingLimits(**read_header(requests))
    limit_process(limits.memory_bytes)
    gc.freeze()  # what is there now stays: looking for garbage is quick
    write_message(replies, {"ready": True})
    while True:
        try:
            header = read_header(requests)
            files = [bytes(read_bytes(requests, size)) for size in header["sizes"]]
        except WireError:
            return 0  # the server is gone
        allow_seconds(limits.time_s)
        try:
            clip = decode(header["kind"], files, Sampling(**header["sampling"]), limits)
        except VideoError as error:
            reply: dict[str, Any] = {"error": " ".join(str(error).split())}
        except MemoryError:
            reply = {"error": TOO_MUCH_MEMORY, "ends": True}
        except Exception:
            reply = {"error": UNREADABLE, "ends": True}
        else:
            reply = {}
        # Decoders of broken files are held in cycles, with their threads: the next file would find
        # less memory, and its frames would come out damaged.
        gc.collect()
        if is_half_full(limits):
            reply["ends"] = True
        if "error" in reply:
            write_message(replies, reply)
        else:
            write_clip(replies, clip, reply)
        if reply.get("ends"):
            return 0  # a new process is cheap


def decode(
    kind: str, files: Sequence[bytes], sampling: Sampling, limits: DecodingLimits
) -> VideoClip:
    """Check and read one video, or the pictures that make one.

    Raises:
        VideoError: it cannot be read, or is beyond a limit.
    """
    part: dict[str, Any] = {"start": sampling.start, "end": sampling.end}
    part["count"] = sampling.num_frames or sampling.count
    if kind == "pictures":
        frames = [rgb_from_image(check_picture(io.BytesIO(data), limits)) for data in files]
        # Their clock is their rate: all of them are considered.
        clip = read_video(frames, fps=sampling.fps, rate=sampling.fps or 1.0, **part)
    else:
        file = _Sent(files[0])
        check_video(file, limits)
        clip = read_video(file, rate=sampling.fps or 1.0, **part)
    check_times(clip.num_frames, clip.duration_s, limits)
    return filled_up(clip, sampling.count)


class _Sent(io.BytesIO):
    """A file, with what messages call it."""

    name = "the video"


def filled_up(clip: VideoClip, count: int) -> VideoClip:
    """`count` frames: the last one repeated, as `read_video` does for short videos."""
    missing = count - len(clip.frames)
    if missing <= 0:
        return clip
    return replace(
        clip,
        frames=clip.frames + clip.frames[-1:] * missing,
        frame_times=clip.frame_times + clip.frame_times[-1:] * missing,
        frame_indices=clip.frame_indices + clip.frame_indices[-1:] * missing,
    )


def is_half_full(limits: DecodingLimits) -> bool:
    """Whether this process has grown to half of its address space (where Linux tells)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return False
    return pages * os.sysconf("SC_PAGE_SIZE") > limits.memory_bytes / 2


def _take_standard_output() -> IO[bytes]:
    """The pipe for replies, out of reach of libraries that print."""
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(own, "wb")


if __name__ == "__main__":
    sys.exit(main())
