"""What goes through the pipe to a decoding process and back: a JSON header, then bytes.

No pickles: who has taken over a decoder by a hostile file must not get further.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np

from mobile_videogpt.video.source import VideoClip

_LENGTH = struct.Struct(">I")
_LONGEST_HEADER = 1 << 20
_CLIP_FIELDS = ("frame_times", "frame_indices", "fps", "duration_s", "num_frames")


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are wanted; see `read_video`."""

    count: int
    """Frames that the model takes; fewer different ones are filled up with the last."""
    num_frames: int | None = None
    """Most different frames; None: `count`."""
    fps: float | None = None
    """Frames per second to consider; of pictures, their clock."""
    start: float | None = None
    end: float | None = None


class WireError(Exception):
    """The other side went away, or sent something that is no message."""


def write_message(pipe: IO[bytes], header: dict[str, Any], *blobs: Any) -> None:
    """Send a header and what it describes."""
    text = json.dumps(header, allow_nan=False).encode()
    pipe.write(_LENGTH.pack(len(text)))
    pipe.write(text)
    for blob in blobs:
        pipe.write(blob)
    pipe.flush()


def read_header(pipe: IO[bytes]) -> dict[str, Any]:
    """Receive a header.

    Raises:
        WireError: there is none.
    """
    (length,) = _LENGTH.unpack(read_bytes(pipe, _LENGTH.size))
    if length > _LONGEST_HEADER:
        raise WireError("a header is too long")
    try:
        header = json.loads(read_bytes(pipe, length))
    except ValueError as error:
        raise WireError("a header is no JSON") from error
    if not isinstance(header, dict):
        raise WireError("a header is no object")
    return header


def read_bytes(pipe: IO[bytes], count: int) -> bytearray:
    """Exactly so many bytes.

    Raises:
        WireError: the pipe ended before.
    """
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
        got = pipe.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise WireError("the pipe ended")
        done += got
    return data


def request_header(sizes: list[int], kind: str, sampling: Sampling) -> dict[str, Any]:
    """What a decoder is asked for: `kind` is "video" or "pictures"."""
    return {"kind": kind, "sizes": sizes, "sampling": asdict(sampling)}


def write_clip(pipe: IO[bytes], clip: VideoClip, more: dict[str, Any]) -> None:
    """Send a clip, and `more` in its header; frames that are one object are sent once."""
    places: dict[int, int] = {}
    frames: list[np.ndarray] = []
    for frame in clip.frames:
        if id(frame) not in places:
            places[id(frame)] = len(frames)
            frames.append(np.ascontiguousarray(frame))
    header = {name: getattr(clip, name) for name in _CLIP_FIELDS}
    header["order"] = [places[id(frame)] for frame in clip.frames]
    header["sizes"] = [frame.shape[:2] for frame in frames]
    write_message(pipe, {**more, "clip": header}, *(frame.data for frame in frames))


def read_clip(pipe: IO[bytes], header: dict[str, Any], count: int, max_pixels: int) -> VideoClip:
    """Receive the clip that `header` announces.

    Raises:
        WireError: it is not of `count` frames of at most `max_pixels`.
    """
    try:
        said = header["clip"]
        sizes = [(int(height), int(width)) for height, width in said["sizes"]]
        order = [int(place) for place in said["order"]]
        fields = {name: said[name] for name in _CLIP_FIELDS}
    except (KeyError, TypeError, ValueError) as error:
        raise WireError("a clip is described wrongly") from error
    is_sane = 0 < len(sizes) <= len(order) == count == len(fields["frame_times"])
    is_sane &= all(min(size) > 0 and size[0] * size[1] <= max_pixels for size in sizes)
    if not is_sane or not set(order) <= set(range(len(sizes))):
        raise WireError("a clip is described wrongly")
    frames = []
    for height, width in sizes:
        data = read_bytes(pipe, height * width * 3)
        frames.append(np.frombuffer(data, np.uint8).reshape(height, width, 3))
    height, width = sizes[0]
    chosen = [frames[place] for place in order]
    return VideoClip(frames=chosen, width=width, height=height, name="the video", **fields)
