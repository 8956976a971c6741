"""What a training sample is: turns of a conversation with their videos and pictures."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

Role = Literal["system", "user", "assistant"]
MediaKind = Literal["video", "image"]
ROLES: dict[str, Role] = {
    "human": "user",
    "gpt": "assistant",
    "user": "user",
    "assistant": "assistant",
    "system": "system",
}


class DataError(ValueError):
    """Data that cannot be used, in one sentence that names the file and the entry."""


class EntryError(DataError):
    """One entry that cannot be used; the others of its file can.

    Attributes:
        origin: where it stands, such as "clips.json entry 12".
        problem: "json", "fields" or "placeholders", for reports.
    """

    def __init__(self, origin: str, message: str, problem: str = "fields") -> None:
        super().__init__(f"{origin}: {message}")
        self.origin = origin
        self.problem = problem


@dataclass(frozen=True)
class Media:
    """A video or picture on disk, and which seconds of it (None: from the start, to the end)."""

    kind: MediaKind
    path: Path
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Turn:
    """What one side says, without placeholders; `media` stand in front of the text."""

    role: Role
    text: str
    media: tuple[Media, ...] = ()


@dataclass(frozen=True)
class Record:
    """One conversation.

    Attributes:
        id: the entry's own name, or its place in the file.
        turns: in order; at least one user and one assistant turn.
        origin: for messages: "FILE entry 12".
        details: other fields of the entry, kept for statistics and conversion.
    """

    id: str
    turns: tuple[Turn, ...]
    origin: str
    details: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def media(self) -> tuple[Media, ...]:
        """All media in the order of the conversation."""
        return tuple(media for turn in self.turns for media in turn.media)

    @property
    def answers(self) -> list[str]:
        """What the assistant says."""
        return [turn.text for turn in self.turns if turn.role == "assistant"]


class RecordStore:
    """Many records as one block of bytes.

    A million records as Python objects cost gigabytes, and again in every data-loading process:
    reference counts un-share the pages that a fork shares. Bytes cost a fifth and stay shared.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        block = bytearray()
        ends = []
        for record in records:
            block += pickle.dumps(record, protocol=5)
            ends.append(len(block))
        self._block = bytes(block)
        self._ends = np.asarray(ends, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        start = int(self._ends[index - 1]) if index else 0
        record: Record = pickle.loads(self._block[start : int(self._ends[index])])
        return record

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))
