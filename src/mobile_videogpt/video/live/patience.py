"""How long to wait before a lost source is tried again."""

from __future__ import annotations

import random


class Patience:
    """Waiting times that double, each drawn from its upper half: many watchers of one camera must
    not all come back at once.

    Args:
        first_s: longest wait before the first try.
        most_s: longest wait of all.
    """

    def __init__(self, first_s: float = 0.5, most_s: float = 30.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = first_s

    def wait_s(self) -> float:
        """The next waiting time, in seconds."""
        longest, self._next_s = self._next_s, min(2 * self._next_s, self._most_s)
        return random.uniform(longest / 2, longest)

    def begin_anew(self) -> None:
        """The source is there again."""
        self._next_s = self._first_s
