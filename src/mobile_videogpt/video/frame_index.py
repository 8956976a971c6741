"""What is where in a video file: one entry per frame in presentation order, without decoding.

Packets are listed once, which costs reading and no decoding: an hour takes a fraction of a second.
So the number of frames is exact even where the container does not tell it or tells it wrongly
(WebM, fragmented MP4, truncated files), and so is the place of a frame after a jump.
"""

import bisect
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import av
from av.container import InputContainer
from av.video.stream import VideoStream

# What reading a damaged file raises; the second, when a stream seems to appear on the way.
READ_ERRORS = (av.FFmpegError, IndexError)
# MPEG program streams time only some packets; after a jump the guesses in between are wrong.
_NO_JUMPS = {"mpeg"}


@dataclass(frozen=True)
class FrameIndex:
    """Frames in presentation order, and where decoding can begin.

    Attributes:
        times: one timestamp per frame, ascending, in units of the stream's time base.
        keyframes: ranks of the frames at which decoding can begin, ascending.
        seek_times: the timestamp to ask the container for, one per keyframe.
        counted: timestamps of decoded frames are missing or made up, as in AVI: frames are
            counted from the keyframe instead.
        landings: decoding timestamp of a packet -> rank, to know where a jump ended when counting.
        missing: frames that the header promises and the file does not have.
    """

    times: Sequence[int]
    keyframes: Sequence[int]
    seek_times: Sequence[int]
    counted: bool = False
    landings: dict[int, int] = field(default_factory=dict)
    missing: int = 0

    def __len__(self) -> int:
        return len(self.times)

    def rank(self, timestamp: int) -> int:
        """Rank of the frame shown at ``timestamp``; -1 before the first."""
        return bisect.bisect_right(self.times, timestamp) - 1

    def keyframe_before(self, rank: int) -> int:
        """Position in ``keyframes`` of the last one at or before ``rank``."""
        return max(0, bisect.bisect_right(self.keyframes, rank) - 1)


def read_index(container: InputContainer, stream: VideoStream, size: int | None) -> FrameIndex:
    """List the frames of ``stream``.  ``size`` is the file's, where known.

    Moves the container's read position: reopen it before decoding.
    """
    return _from_sample_table(container, stream, size) or _by_demuxing(container, stream)


def _from_sample_table(
    container: InputContainer, stream: VideoStream, size: int | None
) -> FrameIndex | None:
    """Use the table at the head of an MP4 or MOV of constant rate, so that nothing is read.

    The table knows decoding times.  At a constant rate presentation times are the same ladder,
    moved; where that is not sure (variable rate, edit lists, missing data) the packets are listed.
    """
    entries = getattr(stream, "index_entries", None)
    if "mp4" not in container.format.name or not entries or size is None:
        return None
    if len(entries) != stream.frames or stream.start_time is None:
        return None
    decoding_times = array("q", (entry.timestamp for entry in entries))
    step = decoding_times[1] - decoding_times[0] if len(entries) > 1 else 1
    shift = stream.start_time - decoding_times[0]
    constant = all(
        time == decoding_times[0] + position * step for position, time in enumerate(decoding_times)
    )
    whole = all(entry.pos + entry.size <= size and not entry.is_discard for entry in entries)
    if not (constant and whole and step > 0):
        return None
    keyframes = [position for position, entry in enumerate(entries) if entry.is_keyframe]
    times = array("q", (time + shift for time in decoding_times))
    seek_times = [times[rank] for rank in keyframes]
    return FrameIndex(times=times, keyframes=keyframes or [0], seek_times=seek_times or [times[0]])


@dataclass
class _Packets:
    """Timestamps of the packets that become frames, in decoding order."""

    presentation: list[int | None] = field(default_factory=list)
    decoding: list[int | None] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    seen: int = 0


def _by_demuxing(container: InputContainer, stream: VideoStream) -> FrameIndex:
    packets = _list_packets(container, stream)
    missing = max(0, stream.frames - packets.seen)
    shown = [time for time in packets.presentation if time is not None]
    if _are_exact(shown, packets, stream):
        times = array("q", sorted(shown))
        can_jump = container.format.name not in _NO_JUMPS
        key_times = sorted(shown[position] for position in packets.keys) if can_jump else []
        ranks = [bisect.bisect_left(times, time) for time in key_times]
        return FrameIndex(
            times, ranks or [0], key_times or list(times[:1]), counted=False, missing=missing
        )
    return _counted(packets, stream, missing)


def _are_exact(shown: list[int], packets: _Packets, stream: VideoStream) -> bool:
    """Whether presentation times tell frames apart.

    AVI has none of its own.  For codecs that reorder frames they may be made up from the decoding
    order, which shows in that they never go back.
    """
    if len(set(shown)) != len(packets.presentation):
        return False
    goes_back = any(later < earlier for earlier, later in pairwise(shown))
    return goes_back or not stream.codec_context.has_b_frames


def _counted(packets: _Packets, stream: VideoStream, missing: int) -> FrameIndex:
    """Index for a file without trustworthy presentation times: decoding order gives ranks."""
    decoding = [time for time in packets.decoding if time is not None]
    number = len(packets.decoding)
    if number and len(set(decoding)) == number:
        landings = {time: rank for rank, time in enumerate(decoding)}
        keyframes = packets.keys or [0]
        seek_times = [decoding[rank] for rank in keyframes]
        return FrameIndex(array("q", decoding), keyframes, seek_times, True, landings, missing)
    # No usable time at all (a raw stream): decode from the beginning, times from the rate.
    rate = stream.average_rate or stream.guessed_rate or 25
    step = 1 / (rate * stream.time_base) if stream.time_base else 1
    times = array("q", (int(rank * step) for rank in range(number)))
    return FrameIndex(times, [0], [0], counted=True, missing=missing)


def _list_packets(container: InputContainer, stream: VideoStream) -> _Packets:
    packets = _Packets()
    hides_frames = stream.codec_context.name in ("vp8", "libvpx")
    try:
        for packet in container.demux(stream):
            packets.seen += packet.dts is not None or packet.pts is not None
            if not packet.size:  # the end, or a picture that AVI repeats
                continue
            if packet.is_discard or (hides_frames and _is_hidden_vp8(packet)):
                continue
            if packet.is_keyframe:
                packets.keys.append(len(packets.decoding))
            packets.presentation.append(packet.pts)
            packets.decoding.append(packet.dts)
    except READ_ERRORS:  # cut off or damaged: what was listed so far is there to be used
        pass
    return packets


def _is_hidden_vp8(packet: av.Packet) -> bool:
    """VP8 has packets that are only referred to and never shown (RFC 6386, section 9.1)."""
    return not bytes(packet)[0] & 0x10
