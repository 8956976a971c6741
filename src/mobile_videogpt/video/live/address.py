"""What a live source is, by its name, and how it is opened."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from mobile_videogpt.video.container import pick_video_stream, reason_of
from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.live.growing_file import GrowingFile

SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt", "udp", "tcp")
# Longest wait for a connection, and for the next packet: a camera that says nothing for so long is
# taken for lost.
OPEN_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 10.0
# How much of a stream FFmpeg looks at before the first packet, in microseconds; by itself 5 s.
_LOOK_FIRST = ("analyzeduration", "500000")

_CAMERA = re.compile(r"camera(?::(?P<which>.+))?", re.IGNORECASE)
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_CREDENTIALS = re.compile(r"(?<=://)(?P<user>[^/@:]*):[^/@]*@")
_CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


class SourceKind(Enum):
    """What can be watched."""

    CAMERA = "camera"
    STREAM = "stream"
    """Over the network, without an end: lost connections are made again."""
    RECORDING = "recording"
    """A finished video, played at its own speed."""
    GROWING = "growing file"
    """A file that another program is writing."""


@dataclass(frozen=True)
class OpenSource:
    """A source that is being read."""

    container: InputContainer
    stream: Any
    """Its video."""
    has_end: bool
    """Whether it is finished: what has been read once is over."""
    file: GrowingFile | None
    """What a growing file is read through."""


@dataclass(frozen=True)
class LiveSource:
    """A source that can be opened again and again; made by `find_source`."""

    kind: SourceKind
    name: str
    """For messages and records: without a password."""
    address: str
    """What FFmpeg opens."""
    format: str | None = None
    """FFmpeg's name of a kind of device."""
    options: tuple[tuple[str, str], ...] = ()
    """Of FFmpeg."""

    @contextmanager
    def opened(self, is_stopped: Callable[[], bool] = lambda: False) -> Iterator[OpenSource]:
        """Open it for as long as the block lasts.

        Args:
            is_stopped: asked while a growing file gives nothing: True ends the waiting.

        Raises:
            VideoError: it cannot be opened now, or there is no video in it.
        """
        with ExitStack() as held:
            file = None
            try:
                if self.kind is SourceKind.GROWING:
                    file = held.enter_context(closing(GrowingFile(Path(self.address), is_stopped)))
                container = held.enter_context(
                    av.open(
                        file or self.address,
                        format=self.format,
                        container_options=dict(self.options),
                        metadata_errors="replace",
                        timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S),
                    )
                )
            except (av.FFmpegError, OSError, ValueError) as error:
                raise VideoError(
                    f"{self.name} cannot be opened ({reason_of(error)}): {self._advice()}."
                ) from error
            yield OpenSource(container, self._stream(container), self._has_end(container), file)

    def _advice(self) -> str:
        return {
            SourceKind.CAMERA: "check that the camera is there and that no other program uses it",
            SourceKind.STREAM: "check the address, user and password, and that the stream runs",
            SourceKind.RECORDING: "check that the file is complete and is a video",
            SourceKind.GROWING: "a file can be watched while it is written if it is MPEG-TS, "
            "Matroska, or MP4 in fragments",
        }[self.kind]

    @property
    def comes_in_pieces(self) -> bool:
        """Whether frames come some seconds' worth at once."""
        is_http = self.address.lower().startswith(("http:", "https:"))
        return self.kind is SourceKind.GROWING or is_http

    def _has_end(self, container: InputContainer) -> bool:
        """Whether what was opened is finished: a file, here or on a web server."""
        if self.kind is SourceKind.STREAM:
            return self.comes_in_pieces and bool(container.duration) and container.size > 0
        return self.kind is not SourceKind.CAMERA

    def _stream(self, container: InputContainer) -> Any:
        stream = pick_video_stream(container, self.name)
        # Threads that decode several frames at once would hold back as many frames, and the cores
        # are the model's.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        return stream


def find_source(text: str, *, is_growing: bool = False) -> LiveSource:
    """The source that a user names.

    Args:
        text: `camera`, `camera:1`, `camera:NAME` or a device such as /dev/video0; an address; or
            the path of a file.
        is_growing: the file is being written: begin at its end and wait for more.

    Raises:
        VideoError: there is no such thing.
    """
    if match := _CAMERA.fullmatch(text):
        return camera_source(match["which"], sys.platform)
    if match := _URL.fullmatch(text):
        return _network_source(text, match["scheme"].lower(), match["rest"], is_growing)
    path = Path(text)
    if path.is_char_device():
        return LiveSource(SourceKind.CAMERA, text, text, "v4l2")
    if not text or not path.exists():
        raise VideoError(
            f"no such source: {text!r}; give camera, a file, or an address such as "
            "rtsp://HOST/PATH."
        )
    if path.is_dir():
        raise VideoError(f"{text} is a folder: give camera, a file, or an address.")
    if is_growing:
        return LiveSource(SourceKind.GROWING, path.name, str(path), options=(_LOOK_FIRST,))
    return LiveSource(SourceKind.RECORDING, path.name, f"file:{path}")


def camera_source(which: str | None, platform: str) -> LiveSource:
    """A camera of this machine.

    Args:
        which: its number or name; the first one if None.
        platform: as `sys.platform` has it.

    Raises:
        VideoError: the platform has no known cameras, or wants a name.
    """
    kind = _CAMERA_FORMATS.get(platform)
    if kind is None:
        raise VideoError(f"cameras of {platform} are unknown here: give an address or a file.")
    name = "camera" if which is None else f"camera:{which}"
    which = which or "0"
    options: tuple[tuple[str, str], ...] = ()
    if kind == "v4l2":
        address = f"/dev/video{which}" if which.isdecimal() else which
    elif kind == "avfoundation":
        address = f"{which}:none"  # no microphone
        options = (("framerate", "30"),)  # its default, 29.97, is refused by Apple's own cameras
    else:
        if which.isdecimal():
            raise VideoError(
                "Windows knows cameras by name: give camera:NAME, as the device manager calls it."
            )
        address = f"video={which}"
    return LiveSource(SourceKind.CAMERA, name, address, kind, options)


def _network_source(text: str, scheme: str, rest: str, is_growing: bool) -> LiveSource:
    name = without_password(text)
    if scheme not in SCHEMES:
        raise VideoError(f"{name} cannot be watched: give one of {', '.join(SCHEMES)}.")
    if not rest.strip("/"):
        raise VideoError(f"{name} names no host: give an address such as rtsp://HOST/PATH.")
    if is_growing:
        raise VideoError(f"{name} is an address: only a file can be followed as it grows.")
    # Packets that come out of order or not at all are no matter for TCP; UDP remains for servers
    # that have nothing else.
    options = (("rtsp_flags", "prefer_tcp"),) if scheme.startswith("rtsp") else ()
    return LiveSource(SourceKind.STREAM, name, text, options=(_LOOK_FIRST, *options))


def without_password(address: str) -> str:
    """An address as it may be shown.

    >>> without_password("rtsp://me:secret@10.0.0.2/door")
    'rtsp://me:***@10.0.0.2/door'
    """
    return _CREDENTIALS.sub(r"\g<user>:***@", address)
