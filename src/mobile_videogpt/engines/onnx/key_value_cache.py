"""The language model's memory: keys and values in place, shared by all questions about a video.

The runtime writes behind the rows that are filled and never moves them. A question continues the
prefix of its video in the same memory; only when two answers are generated at once, or one grows
beyond the room, are rows copied.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

SLACK = 512
"""Rows behind the prefix: a question and an answer of ordinary length."""


class KeyValueCache:
    """Keys and values of every layer.

    Args:
        num_tensors: two for each layer.
        heads: of keys and values.
        width: of a head.
        capacity: how many tokens there is room for. Rows that are never used take no memory.
    """

    def __init__(self, num_tensors: int, heads: int, width: int, capacity: int) -> None:
        self.values = np.empty((num_tensors, 1, heads, capacity, width), np.float32)
        self.length = 0
        """Rows that are filled."""
        self._kept = 0
        self._in_use = threading.Lock()

    @property
    def capacity(self) -> int:
        """Tokens there is room for."""
        return self.values.shape[3]

    def keep(self) -> KeyValueCache:
        """Make the rows that are filled now the prefix, which stays."""
        self._kept = self.length
        return self

    def _copy(self, capacity: int) -> KeyValueCache:
        """The prefix in other memory."""
        tensors, _, heads, _, width = self.values.shape
        other = KeyValueCache(tensors, heads, width, capacity)
        other.values[:, :, :, : self._kept] = self.values[:, :, :, : self._kept]
        other.length = self._kept
        return other

    @contextmanager
    def continued(self, room: int) -> Iterator[KeyValueCache]:
        """A cache that goes on after the prefix, with room for so many more rows.

        It is this one's memory when nobody else is writing there; afterwards this cache is as it
        was.
        """
        needed = self._kept + room
        if not self._in_use.acquire(blocking=False):
            yield self._copy(needed)
            return
        try:
            # Memory that had to grow stays: the next question about the video fits, too.
            if needed > self.capacity:
                self.values = self._copy(needed + SLACK).values
            yield self
        finally:
            self.length = self._kept
            self._in_use.release()
