"""What is checked about a client's file before a frame of it is decoded.

A demuxer that reads playlists would open what they name, files of this machine and addresses of its
network included: only demuxers are allowed that read the file itself.
"""

from __future__ import annotations

import math
from typing import IO, Any

import av
from PIL import Image

from mobile_videogpt.serving.settings import DecodingLimits
from mobile_videogpt.video.errors import VideoError

CONTAINERS = (
    *("mov", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "gif", "ogg"),
    *("asf", "ivf", "h264", "hevc", "m4v", "yuv4mpegpipe"),
)
PICTURES = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_OPTIONS = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "none"}


def check_video(file: IO[bytes], limits: DecodingLimits) -> None:
    """Look at the head of a video or an animation.

    Raises:
        VideoError: it is nothing that is served, or beyond a limit.
    """
    head = file.read(16)
    file.seek(0)
    if not head:
        raise VideoError("the video is empty: send a whole file.")
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    if is_webp or head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM")):
        check_picture(file, limits)
    else:
        _check_container(file, limits)
    file.seek(0)


def check_picture(file: IO[bytes], limits: DecodingLimits) -> Image.Image:
    """A picture whose head was read, and no pixel.

    Raises:
        VideoError: it is no picture, or beyond a limit.
    """
    try:
        image = Image.open(file, formats=PICTURES)
        frames = int(getattr(image, "n_frames", 1))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        allowed = ", ".join(PICTURES)
        raise VideoError(f"a picture cannot be read: send a whole one of {allowed}.") from error
    _check_size(image.width, image.height, limits)
    _check_frames(frames, limits)
    return image


def check_times(num_frames: int, duration_s: float | None, limits: DecodingLimits) -> None:
    """What is known for sure once the frames are listed; heads lie.

    Raises:
        VideoError: it is beyond a limit.
    """
    _check_frames(num_frames, limits)
    if duration_s is not None:
        _check_duration(duration_s, limits)


def _check_container(file: IO[bytes], limits: DecodingLimits) -> None:
    try:
        container = av.open(file, metadata_errors="replace", options=_OPTIONS)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            "the file cannot be read as a video: send a whole file in a common container, such as "
            "MP4, WebM, MKV, AVI, MPEG-TS or GIF."
        ) from error
    with container:
        if len(container.streams) > limits.streams:
            raise VideoError(
                f"the video has {len(container.streams)} streams, and {limits.streams} are "
                "allowed: keep the picture only."
            )
        for stream in container.streams.video:
            _check_stream(stream, limits)
        if container.duration:
            _check_duration(container.duration / av.time_base, limits)


def _check_stream(stream: Any, limits: DecodingLimits) -> None:
    if stream.codec_context is None:  # an unknown codec: the reader says so
        return
    _check_size(stream.codec_context.width, stream.codec_context.height, limits)
    _check_frames(stream.frames, limits)


def _check_size(width: int, height: int, limits: DecodingLimits) -> None:
    if width * height > limits.pixels:
        raise VideoError(
            f"a frame of {width} x {height} has more than the {limits.pixels} pixels that are "
            "allowed: make it smaller; the model looks at a few hundred pixels a side."
        )


def _check_frames(frames: int, limits: DecodingLimits) -> None:
    if frames > limits.frames:
        raise VideoError(
            f"the video has {frames} frames, and {limits.frames} are allowed: send a part of it."
        )


def _check_duration(seconds: float, limits: DecodingLimits) -> None:
    if math.isfinite(seconds) and seconds > limits.duration_s:
        raise VideoError(
            f"the video lasts {seconds:.0f} s, and {limits.duration_s:.0f} s are allowed: send a "
            "part of it."
        )
