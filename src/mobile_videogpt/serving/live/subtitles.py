"""Answers as subtitles (SRT), whole at every moment: a killed run leaves a file that plays."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO


class SubtitleFile:
    """Appends cues to a new SRT file; one with the same text as the last one prolongs it.

    The file is made with the first cue.

    Args:
        path: of the file.

    Raises:
        ValueError: the file is there already.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = 0
        self._text = ""
        self._start = self._end = 0.0
        self._last_cue_at = 0
        self._file: BinaryIO | None = None
        if path.exists():
            raise ValueError(f"{path} is there already; name another file")

    def add(self, start: float, end: float, text: str) -> None:
        """Write a cue from `start`, or from the end of the last one if that is later, to `end`."""
        text = _one_cue(text)
        start = max(0.0, start, self._end)
        if not text or end <= start:
            return
        if self._file is None:
            self._file = self.path.open("xb")
        if text == self._text and start == self._end:
            self._file.seek(self._last_cue_at)
            self._file.truncate()
        else:
            self._number += 1
            self._last_cue_at = self._file.tell()
            self._start, self._text = start, text
        self._end = end
        times = f"{timestamp(self._start)} --> {timestamp(end)}"
        self._file.write(f"{self._number}\n{times}\n{text}\n\n".encode())
        self._file.flush()

    def close(self) -> None:
        """Write no more."""
        if self._file is not None:
            self._file.close()


def timestamp(seconds: float) -> str:
    """Seconds as SRT writes them.

    >>> timestamp(3725.0625)
    '01:02:05,062'
    """
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02},{milliseconds % 1000:03}"


def _one_cue(text: str) -> str:
    """Text without what would end a cue: empty lines, and arrows that look like times."""
    lines = (line.strip().replace("-->", "->") for line in text.splitlines())
    return "\n".join(line for line in lines if line)
