"""A file that another program is writing: reading waits at the end for what comes next."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

# A writer that adds nothing for so long is taken for finished.
IDLE_S = 10.0
_LOOK_AGAIN_S = 0.05


class GrowingFile:
    """Bytes in order, for `av.open`; it cannot be rewound, so nothing looks for the file's end.

    Args:
        path: of the file.
        is_stopped: True ends the waiting at once.
        idle_s: how long the file may stay as it is before this counts as its end.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(
        self, path: Path, is_stopped: Callable[[], bool] = lambda: False, idle_s: float = IDLE_S
    ) -> None:
        self._file = path.open("rb")
        self._is_stopped = is_stopped
        self._idle_s = idle_s
        self._is_over = False
        self.name = path.name
        self.size_at_first = path.stat().st_size
        """Bytes that were there when it was opened."""

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, once there is one; none at the end."""
        waiting_since = time.monotonic()
        while not (data := self._file.read(size)) and not self._is_over:
            time.sleep(_LOOK_AGAIN_S)
            is_idle = time.monotonic() - waiting_since > self._idle_s
            self._is_over = is_idle or self._is_stopped()
        return data

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
