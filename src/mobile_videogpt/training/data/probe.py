"""A look into one media file, made in a process that may crash; see `workers`."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.source import open_source

from .records import MediaKind

# As many as the model samples.
_SAMPLED_FRAMES = 16
_THUMBNAIL_SIDE = 200
# Grey levels: below these a frame shows one flat colour, and two frames the same picture.
_FLAT, _STILL = 2.0, 0.5


@dataclass(frozen=True)
class Task:
    """Which file to look at; `digest` and `thumbnail` say what else is wanted of it."""

    kind: MediaKind
    path: Path
    digest: bool = False
    thumbnail: bool = False


@dataclass(frozen=True)
class Probe:
    """What is in a readable file.

    Attributes:
        frames, fps, duration_s: of the whole video; None without a clock.
        width, height, codec: of what was decoded.
        decoded: frames that could be decoded, of `sampled` tried.
        digest: hash of the file's bytes, "" where it was not asked for.
        notes: what else is odd: damage, one flat colour, nothing moves.
        thumbnail: a JPEG of the middle frame in base64, or "".
    """

    frames: int
    fps: float | None
    duration_s: float | None
    width: int
    height: int
    codec: str
    decoded: int
    sampled: int
    digest: str = ""
    notes: tuple[str, ...] = ()
    thumbnail: str = ""


def probe_file(task: Task) -> Probe:
    """Decode frames from all over the file; raises VideoError for one that cannot be used."""
    with _Warnings() as warnings:
        opened = open_source(task.path)
        count = opened.num_frames
        tried = sorted({round(place) for place in np.linspace(0, count - 1, _SAMPLED_FRAMES)})
        found = opened.read(tried)
        if not found:
            raise VideoError(
                f"no frame can be decoded: damaged, or a codec ({opened.codec}) that is not "
                "supported."
            )
        times = opened.times()
    frames = list(found.values())
    notes = [*warnings.messages, *_oddities(task.kind, frames)]
    height, width = frames[0].shape[:2]
    return Probe(
        frames=count,
        fps=opened.fps,
        duration_s=None if opened.fps is None else float(times[-1]) + 1 / opened.fps,
        width=width,
        height=height,
        codec=opened.codec,
        decoded=len(found),
        sampled=len(tried),
        digest=_digest(task.path) if task.digest else "",
        notes=tuple(notes),
        thumbnail=_thumbnail(frames[len(frames) // 2]) if task.thumbnail or notes else "",
    )


class _Warnings(logging.Handler):
    """What the video room logs about a file while this is open."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._logger = logging.getLogger("mobile_videogpt.video")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.messages.append(record.getMessage())

    def __enter__(self) -> _Warnings:
        self._logger.addHandler(self)
        self._propagate, self._logger.propagate = self._logger.propagate, False
        return self

    def __exit__(self, *exception: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagate


def _oddities(kind: MediaKind, frames: list[np.ndarray]) -> list[str]:
    """What a person would see at once."""
    small = [frame[::4, ::4].astype(np.float32) for frame in frames]
    if max(float(frame.std(axis=(0, 1)).max()) for frame in small) < _FLAT:
        return ["every frame is one flat colour"]
    if kind == "image" or len(small) < 2 or any(frame.shape != small[0].shape for frame in small):
        return []
    change = max(float(np.abs(frame - small[0]).mean()) for frame in small[1:])
    return ["nothing changes from the first frame to the last"] if change < _STILL else []


def _digest(path: Path) -> str:
    """Of a file's bytes; a folder of frames has none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def _thumbnail(frame: np.ndarray) -> str:
    image = Image.fromarray(frame)
    image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
