"""Video files through PyAV: find a few frames among many, decoding as little as possible.

For every wanted frame the cursor either decodes on from where it is or, when a keyframe lies
between, jumps to it.  An hour of video costs sixteen short stretches; memory holds the wanted
frames only.  Which frame came out is decided by its timestamp against the `FrameIndex`, so a jump
gives exactly the frame that decoding everything would have given.
"""

import logging
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.frame_index import READ_ERRORS, FrameIndex, read_index
from mobile_videogpt.video.rgb import rgb_from_frame

_LOG = logging.getLogger(__name__)
# Spares reading the sound; PyAV 18 and later.
_DISCARD = getattr(av.stream, "Discard", None)
# FFmpeg would render these as pictures of text.
_NOT_VIDEO = {"tty"}
# A jump that ends too late is tried from this many keyframes further back before starting over.
_STEPS_BACK = (0, 1, 2, 8)
# Jumping empties the decoder, which costs about as much as decoding this many frames.
_FRAMES_PER_JUMP = 8


class ContainerSource:
    """Frames of one video stream in a file or a seekable file object."""

    def __init__(self, file: Path | IO[bytes], name: str) -> None:
        """Open and list the frames.

        Raises:
            VideoError: not a video, or one without a single frame.
        """
        self._file = file
        self.name = name
        with self._open() as container:
            stream = pick_video_stream(container, self.name)
            self._time_base = stream.time_base or Fraction(1, 1)
            self.index = read_index(container, stream, _file_size(self._file))
            self.fps = self._frame_rate(stream)
            self.codec = stream.codec_context.name
            self.pixel_format = stream.codec_context.pix_fmt or ""
            self.container_format = container.format.name
            self.has_audio = bool(container.streams.audio)
        if not len(self.index):
            raise VideoError(f"{name} has a video stream without frames: the file is damaged.")
        if self.index.missing:
            _LOG.warning(
                "%s is cut off: %d of its %d frames are missing, the rest is used.",
                name,
                self.index.missing,
                self.index.missing + len(self.index),
            )

    @property
    def num_frames(self) -> int:
        return len(self.index)

    def times(self) -> np.ndarray:
        """Seconds since the first frame, one per frame, float64 (frames,)."""
        ticks = np.asarray(self.index.times, dtype=np.int64)
        return (ticks - ticks[0]) * float(self._time_base)

    def read(self, indices: list[int]) -> dict[int, np.ndarray]:
        """Decode the frames at ascending ``indices``; those that cannot be decoded are left out."""
        frames: dict[int, np.ndarray] = {}
        with self._open() as container:
            cursor = _Cursor(container, pick_video_stream(container, self.name), self.index)
            with closing(cursor):
                for index in indices:
                    frame = cursor.frame_at(index)
                    if frame is None:
                        continue
                    frames[index] = rgb_from_frame(frame)
                    cursor.damaged += bool(frame.is_corrupt)
            if cursor.damaged:
                _LOG.warning("%s is partly damaged: what can be decoded is used.", self.name)
        return frames

    def _open(self) -> InputContainer:
        file: Any = self._file
        if isinstance(file, Path):
            target: Any = f"file:{file}"  # a name with a colon is not a protocol
        else:
            file.seek(0)
            target = file
        try:
            return av.open(target, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(
                f"{self.name} cannot be read as a video ({reason_of(error)}): "
                "check that the file is complete and is a video."
            ) from error

    def _frame_rate(self, stream: VideoStream) -> float:
        """Average rate as the header says it, or as the timestamps do where that is absurd."""
        rate = stream.average_rate
        if len(self.index) < 2:
            return float(rate) if rate else 1.0
        span = float((self.index.times[-1] - self.index.times[0]) * self._time_base)
        measured = (len(self.index) - 1) / span if span > 0 else 0.0
        if rate and (not measured or 0.5 < float(rate) / measured < 2):
            return float(rate)
        return measured or 1.0


class _Cursor:
    """A position in the decoded stream that only moves where it must."""

    def __init__(self, container: InputContainer, stream: VideoStream, index: FrameIndex) -> None:
        self._container = container
        self._stream = stream
        self._index = index
        self._rank = -1
        self._wanted = 0
        self._frame: av.VideoFrame | None = None
        self._frames = self._decode(at_start=True)
        self.damaged = 0

    def close(self) -> None:
        """Let go of the decoder, which holds the cursor too: its threads end now."""
        self._frames = iter(())
        self._frame = None

    def frame_at(self, rank: int) -> av.VideoFrame | None:
        """The frame of ``rank``, or the next decodable one, or the last; None if there is none."""
        self._wanted = rank
        keyframe = self._index.keyframe_before(rank)
        if self._index.keyframes[keyframe] > self._rank + _FRAMES_PER_JUMP:
            self._jump(keyframe, rank)
        while self._rank < rank and self._advance():
            pass
        return self._frame

    def _advance(self) -> bool:
        try:
            self._rank, self._frame = next(self._frames)
        except StopIteration:
            return False
        return True

    def _jump(self, keyframe: int, rank: int) -> None:
        """Continue from ``keyframe`` or, where the container lands too late, from further back."""
        for back in _STEPS_BACK:
            if keyframe - back <= 0:
                break
            if self._seek(self._index.seek_times[keyframe - back]) and self._rank <= rank:
                return
        self._seek(self._index.seek_times[0])

    def _seek(self, time: int) -> bool:
        """Jump to the keyframe at or before ``time`` and decode one frame, if there is one."""
        try:
            self._container.seek(time, stream=self._stream)
        except av.FFmpegError:
            return False
        self._rank, self._frame = -1, None
        self._frames = self._decode(at_start=False)
        return self._advance()

    def _decode(self, at_start: bool) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames with their ranks from here to the end, stepping over what cannot be decoded."""
        next_rank = 0 if at_start else None
        for packet in self._packets():
            if next_rank is None:
                next_rank = self._landing(packet)
                if next_rank is None:
                    return
            self._choose_effort(packet)
            try:
                decoded = self._stream.decode(packet)
            except av.FFmpegError:
                self.damaged += 1
                continue
            for frame in decoded:
                if frame.pts is not None and not self._index.counted:
                    next_rank = self._index.rank(frame.pts)
                yield next_rank, frame
                next_rank += 1

    def _choose_effort(self, packet: av.Packet | None) -> None:
        """Spare the decoder earlier frames that no other frame refers to: often half of them."""
        is_early = (
            packet is not None
            and packet.pts is not None
            and not self._index.counted
            and self._index.rank(packet.pts) < self._wanted
        )
        self._stream.codec_context.skip_frame = "NONREF" if is_early else "DEFAULT"

    def _landing(self, packet: av.Packet | None) -> int | None:
        """Rank of the first frame after a jump, needed only where frames are counted."""
        if not self._index.counted:
            return 0
        return self._index.landings.get(packet.dts) if packet is not None else None

    def _packets(self) -> Iterator[av.Packet | None]:
        """Packets from here on; None at the end, for what the decoder still holds."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except READ_ERRORS:  # cut off in the middle of a packet
                self.damaged += 1
                yield None
                return


def pick_video_stream(container: InputContainer, name: str) -> VideoStream:
    """The first video stream that is not a cover picture, everything else discarded.

    Raises:
        VideoError: there is none; `name` is the source's, for the message.
    """
    if container.format.name in _NOT_VIDEO:
        raise VideoError(f"{name} is a text file: give a video.")
    videos = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not videos:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise VideoError(f"{name} has no video stream, only {kinds}: give a video.")
    if videos[0].codec_context is None:
        raise VideoError(
            f"{name} has a video stream of an unknown kind: the file is damaged, or its "
            "codec is not supported."
        )
    for stream in container.streams:
        if stream is not videos[0] and _DISCARD is not None:
            stream.discard = _DISCARD.all
    videos[0].thread_type = "AUTO"
    return videos[0]


def _file_size(file: Path | IO[bytes]) -> int | None:
    return file.stat().st_size if isinstance(file, Path) else None


def reason_of(error: Exception) -> str:
    """What FFmpeg or the system says about a failure, without its full stop."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(". ")
