"""The thread that reads a live source: it keeps the latest frames, and never waits for their user.

Frames are taken at a steady rate into a short queue that forgets its oldest, so memory is bounded
and whoever looks sees what is newest. A source that is lost is opened again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from mobile_videogpt.video.container import reason_of
from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.frame_index import READ_ERRORS
from mobile_videogpt.video.live.address import LiveSource, OpenSource, SourceKind
from mobile_videogpt.video.live.clock import Clock, PieceClock, RecordingClock, StreamClock
from mobile_videogpt.video.live.effort import DecodingEffort
from mobile_videogpt.video.live.growing_file import GrowingFile
from mobile_videogpt.video.live.patience import Patience
from mobile_videogpt.video.rgb import rgb_from_frame

_LOG = logging.getLogger(__name__)
# Of a growing file, packets before the end that are needed to decode what comes next.
_MOST_HISTORY = 1000
_MOST_NOTICES = 256
_CLOSE_S = 2.0


@dataclass(frozen=True)
class LiveFrame:
    """A frame that was taken from a live source."""

    number: int
    """Counts the frames that were taken, from 1."""
    time: float
    """Seconds since watching began; of a recording, since its first frame."""
    pixels: np.ndarray
    """uint8 (H, W, 3)"""


@dataclass(frozen=True)
class Notice:
    """Something that happened to a source."""

    kind: str
    """"connected" or "lost"."""
    time: float
    """Seconds since watching began."""
    reason: str = ""
    retry_s: float = 0.0
    """Of a lost source: when it is tried again."""


class LiveReader:
    """Reads a source from `start` to `close`.

    Args:
        source: what to read.
        rate: frames per second to take; a source with fewer gives all it has.
        keep: how many frames stay.
        is_awaited: whether a source that cannot be opened at first is tried again, as it is once it
            was there.
        give_up_s: how long to try for a source that is lost; None: for ever.
        patience: waits between two tries.
    """

    def __init__(
        self,
        source: LiveSource,
        rate: float,
        keep: int,
        *,
        is_awaited: bool = False,
        give_up_s: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.source = source
        self.rate = rate
        self.frames_decoded = 0
        self.effort = DecodingEffort()
        self.notices: deque[Notice] = deque(maxlen=_MOST_NOTICES)
        """What happened; whoever reads them takes them out."""
        self.failure: Exception | None = None
        """Why reading ended before the source did."""
        self.is_over = False
        """Whether nothing more will come."""
        self._frames: deque[LiveFrame] = deque(maxlen=keep)
        self._taken = 0
        self._slot = -1  # of the last frame that was taken, on the ladder of `rate`
        self._is_awaited = is_awaited
        self._give_up_s = give_up_s
        self._patience = patience or Patience()
        self._lost_since: float | None = None
        self._has_end = False
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="live-reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._began = time.monotonic()
        self._thread.start()

    @property
    def now(self) -> float:
        """Seconds since watching began."""
        return time.monotonic() - self._began

    @property
    def behind_s(self) -> float:
        """How old the newest frame is."""
        with self._news:
            return self.now - self._frames[-1].time if self._frames else 0.0

    def wait(self, after: int, timeout_s: float) -> None:
        """Wait for a frame with a number above `after`, a notice, or the end."""

        def is_news() -> bool:
            return self._taken > after or self.is_over or bool(self.notices)

        with self._news:
            self._news.wait_for(is_news, timeout_s)

    def latest(self, span_s: float) -> list[LiveFrame]:
        """The frames of the last `span_s` seconds before the newest frame, oldest first."""
        with self._news:
            frames = list(self._frames)
        # A quarter of a step more or less is what the ladder leaves to the source's unrest.
        return [f for f in frames if f.time > frames[-1].time - span_s + 0.25 / self.rate]

    def close(self) -> None:
        """Stop reading; a source that is silent at this moment is left to its own time limit."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            self._read_until_stopped()
        except Exception as error:
            self.failure = error
        finally:
            with self._news:
                self.is_over = True
                self._news.notify_all()

    def _read_until_stopped(self) -> None:
        while not self._stop.is_set():
            reason = self._read_once()
            if self._stop.is_set() or (self._has_end and self._taken):
                return
            self._wait_to_try_again(reason)

    def _read_once(self) -> str:
        """Open the source and read it to its end; why it ended."""
        taken = self._taken
        try:
            with self.source.opened(self._stop.is_set) as opened:
                self._has_end = opened.has_end
                self._read(opened)
        except VideoError as error:
            if not (self._taken or self._is_awaited):
                raise
            return str(error)
        except (*READ_ERRORS, OSError) as error:
            return reason_of(error)
        if self._taken == taken:
            return f"{self.source.name} gives no frame that can be decoded."
        return f"{self.source.name} has ended."

    def _wait_to_try_again(self, reason: str) -> None:
        now = self.now
        self._lost_since = now if self._lost_since is None else self._lost_since
        if not (self._taken or self._is_awaited):
            raise VideoError(reason)
        if self._give_up_s is not None and now - self._lost_since > self._give_up_s:
            raise VideoError(
                f"{self.source.name} was not there for {self._give_up_s:g} s: {reason}"
            )
        wait_s = self._patience.wait_s()
        self._notify(Notice("lost", now, reason, round(wait_s, 3)))
        self._stop.wait(wait_s)

    def _read(self, opened: OpenSource) -> None:
        stream = opened.stream
        clock = self._clock(stream)
        time_base = float(stream.time_base or 0)

        def seconds(stamp: int | None) -> float | None:
            return None if stamp is None else stamp * time_base

        with closing(_timed(opened.container.demux(stream))) as packets:
            if opened.file is not None:
                self._skip_to_the_end(packets, opened.file, stream, clock, seconds)
            for packet, waited in packets:
                if self._stop.is_set():
                    return
                stamp = packet.dts if packet.dts is not None else packet.pts
                place = clock.place(seconds(stamp), self.now, waited)
                self._decode(stream, packet, clock, seconds, self.now - place)

    def _decode(
        self,
        stream: Any,
        packet: Any,
        clock: Clock,
        seconds: Callable[[int | None], float | None],
        behind_s: float,
    ) -> None:
        try:
            frames = self.effort.decode(stream, packet, behind_s)
        except av.FFmpegError:
            return  # damaged on its way; the decoder goes on with the next key frame
        for frame in frames:
            self.frames_decoded += 1
            at = clock.at(seconds(frame.pts), self.now)
            if at is None:
                continue
            if clock.is_paced:
                self._stop.wait(max(0.0, at - self.now))
            self._take(frame, at if clock.is_paced else min(at, self.now))

    def _take(self, frame: Any, at: float) -> None:
        """Keep a frame if it is the first on its step of the ladder."""
        slot = int(at * self.rate + 0.25) if at >= 0 else -1
        if slot <= self._slot or self._stop.is_set():
            return
        self._slot = slot
        pixels = rgb_from_frame(frame)
        if self._lost_since is not None or not self._taken:
            self._lost_since = None
            self._patience.begin_anew()
            self._notify(Notice("connected", self.now))
        with self._news:
            self._taken += 1
            self._frames.append(LiveFrame(self._taken, at, pixels))
            self._news.notify_all()

    def _notify(self, notice: Notice) -> None:
        with self._news:
            self.notices.append(notice)
            self._news.notify_all()

    def _clock(self, stream: Any) -> Clock:
        if self.source.kind is SourceKind.GROWING:
            return PieceClock()
        if self._has_end:
            return RecordingClock(float((stream.start_time or 0) * (stream.time_base or 0)))
        return PieceClock() if self.source.comes_in_pieces else StreamClock()

    def _skip_to_the_end(
        self,
        packets: Iterator[tuple[Any, float]],
        file: GrowingFile,
        stream: Any,
        clock: Clock,
        seconds: Callable[[int | None], float | None],
    ) -> None:
        """Read what is there of a growing file; decode only what the next frames refer to."""
        history: deque[Any] = deque(maxlen=_MOST_HISTORY)
        for packet, _ in packets:
            if packet.is_keyframe:
                history.clear()
            history.append(packet)
            if (packet.pos or 0) + packet.size > file.size_at_first:
                break
        if history:
            clock.place(seconds(history[-1].dts), self.now, 0.0)
        for packet in history:
            self._decode(stream, packet, clock, seconds, 0.0)


def _timed(packets: Iterator[Any]) -> Generator[tuple[Any, float], None, None]:
    """Packets, and for how many seconds each had to be waited for."""
    while True:
        asked = time.monotonic()
        try:
            packet = next(packets)
        except StopIteration:
            return
        yield packet, time.monotonic() - asked
