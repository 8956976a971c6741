"""How much of a stream is decoded: less of it the further the reader has fallen behind."""

from __future__ import annotations

from typing import Any

# Behind by more than this, frames that no other frame needs are left out: often half of them.
_LEAVE_OUT_S = 1.0
# By more than this, all but the key frames; this alone is as fast as any stream comes.
_ONLY_KEY_FRAMES_S = 3.0
_CAUGHT_UP_S = 0.5

_ALL, _NEEDED, _KEY = "DEFAULT", "NONREF", "NONKEY"


class DecodingEffort:
    """Chooses which packets a decoder may leave out."""

    def __init__(self) -> None:
        self.level = _ALL
        self.skipped = 0
        """Packets of which nothing was to be decoded, at least."""

    def choose(self, behind_s: float, is_key_frame: bool) -> str:
        """FFmpeg's `skip_frame` for the next packet.

        Args:
            behind_s: how far behind the packet is.
            is_key_frame: whether decoding can begin with it: only there all frames can be had again
                once some were left out that others need.
        """
        if behind_s > _ONLY_KEY_FRAMES_S:
            self.level = _KEY
        elif self.level == _KEY:
            if is_key_frame and behind_s < _CAUGHT_UP_S:
                self.level = _ALL
        elif behind_s > _LEAVE_OUT_S:
            self.level = _NEEDED
        elif behind_s < _CAUGHT_UP_S:
            self.level = _ALL
        self.skipped += self.level == _KEY and not is_key_frame
        return self.level

    def decode(self, stream: Any, packet: Any, behind_s: float) -> Any:
        """The frames that come out of a packet."""
        level = self.choose(behind_s, bool(packet.is_keyframe))
        stream.codec_context.skip_frame = level
        return stream.decode(packet)
