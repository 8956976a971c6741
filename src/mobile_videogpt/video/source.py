"""The one road from a video to frames: `read_video`.

A file, animation, folder, array, list of images or open file object is opened as a source that
knows its number of frames, rate and times, and reads frames by index.  Which frames is decided by
``sampling``; what is read is upright uint8 RGB, always exactly ``count`` frames: a short video is
padded by repeating its last frame.
"""

import bisect
import io
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from PIL import Image

from mobile_videogpt.video.container import ContainerSource
from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.sampling import (
    frame_window,
    order_seconds,
    sample_frame_indices,
    start_past_the_end,
)
from mobile_videogpt.video.stills import (
    AnimationSource,
    array_source,
    folder_source,
    list_source,
)

__all__ = ["VideoClip", "VideoError", "VideoInfo", "probe_video", "read_video"]

_LOG = logging.getLogger(__name__)
# Frames of a variable-rate file are found by time; containers round times to milliseconds.
_TIME_SLACK_S = 1e-3


@dataclass(frozen=True)
class VideoClip:
    """The sampled frames of a video.

    Attributes:
        frames: ``count`` frames, uint8 (H, W, 3) RGB, upright.
        frame_times: seconds of each frame since the first frame of the file.
        frame_indices: index of each frame in the file, in presentation order.
        fps: average frames per second; 1 for a source without a clock.
        duration_s: length of the whole source; None for a source without a clock.
        num_frames: frames in the whole source.
        width, height: of the first sampled frame.
        name: for messages: the file's name, or what kind of thing it was.
    """

    frames: list[np.ndarray]
    frame_times: list[float]
    frame_indices: list[int]
    fps: float
    duration_s: float | None
    num_frames: int
    width: int
    height: int
    name: str


@dataclass(frozen=True)
class VideoInfo:
    """What a video is, without its frames; sizes are upright."""

    name: str
    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    fps: float
    duration_s: float | None
    num_frames: int
    has_audio: bool


class FrameSource(Protocol):
    """What every kind of video offers."""

    name: str
    codec: str
    container_format: str
    pixel_format: str
    has_audio: bool

    @property
    def fps(self) -> float | None: ...
    @property
    def num_frames(self) -> int: ...
    def times(self) -> np.ndarray: ...
    def read(self, indices: list[int]) -> dict[int, np.ndarray]: ...


def read_video(
    source: Any,
    *,
    start: float | None = None,
    end: float | None = None,
    count: int = 16,
    rate: float = 1.0,
    fps: float | None = None,
) -> VideoClip:
    """Read ``count`` frames of a video.

    Args:
        source: path of a video, animation, picture, ``.npy`` file or folder of frames; an open
            binary file or bytes; an array or tensor (T, H, W, 3); a list of images or arrays.
        start: first second, fractions included; None for the beginning.
        end: last second, likewise; beyond the end means the end.
        count: frames to return.
        rate: frames per second to consider before thinning to ``count``.
        fps: clock of a source that has none (folder, array, list); ignored by files.

    Raises:
        VideoError: in one sentence, for anything that is not a readable video or stretch of one.
    """
    opened = open_source(source, fps=fps)
    times = opened.times()
    first, last = select_stretch(opened, times, start, end)
    chosen = sample_frame_indices(last - first + 1, opened.fps, count=count, rate=rate)
    indices = [first + index for index in chosen]
    frames = read_without_gaps(opened, indices)
    indices += indices[-1:] * (count - len(indices))
    frames += frames[-1:] * (count - len(frames))
    height, width = frames[0].shape[:2]
    return VideoClip(
        frames=frames,
        frame_times=[float(times[index]) for index in indices],
        frame_indices=indices,
        fps=opened.fps or 1.0,
        duration_s=_duration(opened, times),
        num_frames=opened.num_frames,
        width=width,
        height=height,
        name=opened.name,
    )


def probe_video(source: Any, *, fps: float | None = None) -> VideoInfo:
    """Describe a video; takes what `read_video` takes, and raises what it raises."""
    opened = open_source(source, fps=fps)
    times = opened.times()
    height, width = read_without_gaps(opened, [0])[0].shape[:2]
    return VideoInfo(
        name=opened.name,
        container=opened.container_format,
        codec=opened.codec,
        pixel_format=opened.pixel_format,
        width=width,
        height=height,
        fps=opened.fps or 1.0,
        duration_s=_duration(opened, times),
        num_frames=opened.num_frames,
        has_audio=opened.has_audio,
    )


def open_source(source: Any, *, fps: float | None = None) -> FrameSource:
    """Find out what ``source`` is; see `read_video`."""
    if isinstance(source, str | Path):
        return _open_path(Path(source), fps)
    if isinstance(source, bytes | bytearray | memoryview):
        return _open_file(io.BytesIO(source), "video from memory", fps)
    if hasattr(source, "read"):
        return _open_file(source, _name_of(source), fps)
    if isinstance(source, Image.Image):
        return list_source([source], fps)
    if isinstance(source, np.ndarray) or hasattr(source, "__array__"):
        return array_source(source, "array", fps)
    if isinstance(source, Sequence):
        return list_source(source, fps)
    raise VideoError(
        f"a {type(source).__name__} is not a video: give a path, an open file, an array of frames "
        "or a list of images."
    )


def _open_path(path: Path, fps: float | None) -> FrameSource:
    if path.is_dir():
        return folder_source(path, fps)
    if not path.exists():
        raise VideoError(f"{path} does not exist: check the path of the video.")
    if path.is_file() and path.stat().st_size == 0:
        raise VideoError(f"{path} is empty: it may not have been written or copied completely.")
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise VideoError(f"{path} cannot be opened: {error.strerror}.") from error
    return _open_by_kind(path, head, path.name, fps)


def _open_file(file: IO[bytes], name: str, fps: float | None) -> FrameSource:
    if isinstance(file, io.TextIOBase):
        raise VideoError(f"{name} is open as text: open it in binary mode ('rb').")
    if not _is_seekable(file):
        file = _copied(file)
    file.seek(0)
    head = file.read(16)
    if not head:
        raise VideoError(f"{name} is empty: there is no video in it.")
    return _open_by_kind(file, head, name, fps)


def _open_by_kind(file: Path | IO[bytes], head: bytes, name: str, fps: float | None) -> FrameSource:
    """Choose the reader by the first bytes, because suffixes lie and file objects have none."""
    if head.startswith(b"\x93NUMPY"):
        return array_source(_load_npy(file, name), name, fps)
    if _is_picture(head):
        return AnimationSource(file, name)
    return ContainerSource(file, name)


def _is_picture(head: bytes) -> bool:
    """PNG, JPEG, BMP, TIFF, or WebP, whose animations FFmpeg's releases cannot decode."""
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return is_webp or head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*"))


def _load_npy(file: Path | IO[bytes], name: str) -> np.ndarray:
    try:
        if isinstance(file, Path):
            return np.load(file, mmap_mode="r", allow_pickle=False)
        file.seek(0)
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise VideoError(f"{name} is not a readable NumPy array: {error}.") from error


def select_stretch(
    opened: FrameSource, times: np.ndarray, start: float | None, end: float | None
) -> tuple[int, int]:
    """First and last frame between ``start`` and ``end``.

    At a constant rate this is the released arithmetic with exact seconds; at a variable one the
    frames that are on screen at both times.
    """
    if start is None and end is None:
        return 0, opened.num_frames - 1
    if opened.fps is None:
        raise VideoError(
            f"{opened.name} has no clock, so start and end mean nothing: pass fps as well."
        )
    if _is_constant(times, opened.fps):
        return frame_window(opened.num_frames, opened.fps, start, end, whole_seconds=False)
    begin, finish = order_seconds(start, end)
    duration = _duration(opened, times) or 0.0
    if begin >= duration:
        raise VideoError(start_past_the_end(begin, duration))
    first = bisect.bisect_right(times, begin + _TIME_SLACK_S) - 1
    last = opened.num_frames - 1
    if finish is not None:
        last = bisect.bisect_right(times, finish + _TIME_SLACK_S) - 1
    return first, max(first, last)


def _is_constant(times: np.ndarray, fps: float) -> bool:
    """Whether every frame is within half a frame of where the rate puts it."""
    return bool(np.abs(times * fps - np.arange(len(times))).max() < 0.5)


def _duration(opened: FrameSource, times: np.ndarray) -> float | None:
    return None if opened.fps is None else float(times[-1]) + 1 / opened.fps


def read_without_gaps(opened: FrameSource, indices: list[int]) -> list[np.ndarray]:
    """Frames at ``indices``; where one cannot be decoded, the one before it, else the one after."""
    found = opened.read(indices)
    if not found:
        raise VideoError(
            f"{opened.name} has no frame that can be decoded: the file is damaged, or its codec "
            f"({opened.codec}) is not supported."
        )
    if len(found) < len(indices):
        missing = len(indices) - len(found)
        _LOG.warning("%s: %d sampled frames cannot be decoded.", opened.name, missing)
    frames = []
    nearest = found[min(found)]
    for index in indices:
        nearest = found.get(index, nearest)
        frames.append(nearest)
    return frames


def _name_of(file: Any) -> str:
    name = getattr(file, "name", None)
    return Path(name).name if isinstance(name, str) else "open file"


def _copied(file: IO[bytes]) -> IO[bytes]:
    """A temporary file with what comes out of a pipe: frames are found by jumping about."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the source
    shutil.copyfileobj(file, copy)
    return copy


def _is_seekable(file: IO[bytes]) -> bool:
    try:
        return file.seekable()
    except AttributeError:
        return False
