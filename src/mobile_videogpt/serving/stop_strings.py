"""Ending an answer where one of the client's strings appears, also across pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Lets text through up to the first of some strings, which stays out.

    Text that may be the beginning of one is held back until that is decided.

    >>> stops = StopStrings(["END"])
    >>> stops.add("the E"), stops.add("N"), stops.add("Dless"), stops.is_hit
    ('the ', '', '', True)
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = [text for text in strings if text]
        self._held = ""
        self.is_hit = False

    def add(self, piece: str) -> str:
        """What of the text so far may be shown now."""
        if self.is_hit or not self._strings:
            return "" if self.is_hit else piece
        text = self._held + piece
        ends = [text.find(string) for string in self._strings if string in text]
        if ends:
            self.is_hit, self._held = True, ""
            return text[: min(ends)]
        keep = max(self._overlap(text, string) for string in self._strings)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _overlap(text: str, string: str) -> int:
        """Length of the longest end of `text` with which `string` begins."""
        longest = min(len(text), len(string) - 1)
        return next((n for n in range(longest, 0, -1) if string.startswith(text[-n:])), 0)
