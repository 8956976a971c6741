"""When a frame was: timestamps of a source on the clock of whoever watches it.

A source counts from anywhere, with a clock of its own, and begins anew after each connection. A
reader calls `place` for every packet, and `at` for the frames that come out of it.
"""

from __future__ import annotations

# A packet that had to be waited for this long is the newest there is.
WAITED_S = 0.005
# A step between two timestamps that is no step of the film: the source began anew.
JUMP_S = 10.0
# A reader that had to wait for no packet in so long is slower than its source.
_SETTLED_S = 1.0
# How far `StreamClock` follows each packet that had to be waited for: 25 a second even out the
# network's unrest over two seconds.
_FOLLOW = 0.02
# Longer than the pieces in which a file grows, or in which a stream is cut for HTTP.
_LOOK_BACK_S = 30.0
_NEEDLESS_S = 0.5


class Clock:
    """Keeps to the timestamps of one connection, placed at its first packet."""

    is_paced = False
    """Whether frames may come before their time, and have to wait for it."""

    def __init__(self) -> None:
        self.offset: float | None = None
        self._last_stamp = 0.0

    def place(self, stamp: float | None, now: float, waited: float) -> float:
        """When a packet belongs, in seconds since watching began.

        Args:
            stamp: its own timestamp in seconds, in decoding order, if it has one.
            now: seconds since watching began.
            waited: seconds for which there was no packet before it came.
        """
        if stamp is None:
            return now
        step = stamp - self._last_stamp
        self._last_stamp = stamp
        if self.offset is None or not -JUMP_S < step < JUMP_S:
            self._begin(now - stamp)
        else:
            self._follow(stamp, now, waited)
        assert self.offset is not None
        return stamp + self.offset

    def at(self, stamp: float | None, now: float) -> float | None:
        """When a frame belongs; now if it does not say, None while that cannot be told."""
        return now if stamp is None or self.offset is None else stamp + self.offset

    def _begin(self, offset: float) -> None:
        self.offset = offset

    def _follow(self, stamp: float, now: float, waited: float) -> None:
        raise NotImplementedError


class StreamClock(Clock):
    """Of a source that sets the pace: a camera, or a stream whose frames are sent as they are made.

    Packets that are waited for are the newest there are, so they belong to now; packets that are
    there already have been waiting themselves, and their timestamps tell for how long: so far
    behind is the reader. Constant delays of the network are not seen, and clocks may drift. What
    was sent while the connection was made comes at once, and its age is not known.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unsettled_until: float | None = None

    def place(self, stamp: float | None, now: float, waited: float) -> float:
        """When a packet belongs; see `Clock`."""
        if self._unsettled_until is None:
            self._unsettled_until = now + _SETTLED_S
        elif waited >= WAITED_S:
            self._unsettled_until = now
        return super().place(stamp, now, waited)

    def at(self, stamp: float | None, now: float) -> float | None:
        """When a frame belongs; see `Clock`."""
        if self._unsettled_until is None or now < self._unsettled_until:
            return None
        return super().at(stamp, now)

    def _follow(self, stamp: float, now: float, waited: float) -> None:
        assert self.offset is not None
        seen = now - stamp
        if seen < self.offset:
            self.offset = seen
        elif waited >= WAITED_S:
            self.offset += _FOLLOW * (seen - self.offset)


class PieceClock(Clock):
    """Of a source that comes in pieces of some seconds each: HTTP, or a file that grows.

    A piece is played at its own speed, so that its frames are not all the latest at once. When the
    next piece is late, everything is from then on; when each packet has been there long before its
    time for a while, everything is sooner.
    """

    is_paced = True

    def __init__(self) -> None:
        super().__init__()
        self._least_early = float("inf")
        self._since: float | None = None

    def _begin(self, offset: float) -> None:
        super()._begin(offset)
        self._least_early, self._since = float("inf"), None

    def _follow(self, stamp: float, now: float, waited: float) -> None:
        assert self.offset is not None
        early = stamp + self.offset - now
        if early < 0 and waited >= WAITED_S:
            self.offset -= early
            early = 0.0
        self._since = now if self._since is None else self._since
        self._least_early = min(self._least_early, early)
        if now - self._since > _LOOK_BACK_S:
            if self._least_early > _NEEDLESS_S:
                self.offset -= self._least_early
            self._least_early, self._since = float("inf"), now


class RecordingClock(Clock):
    """Of a finished film that is played at its own speed: its times are those of the film.

    Args:
        first_stamp: timestamp of its first frame, in seconds.
    """

    is_paced = True

    def __init__(self, first_stamp: float) -> None:
        super().__init__()
        self.offset = -first_stamp

    def place(self, stamp: float | None, now: float, waited: float) -> float:
        """When a packet belongs; see `Clock`."""
        assert self.offset is not None
        return now if stamp is None else stamp + self.offset
