"""Which records are held back: whole videos, chosen by a hash of their content, never by chance."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from ..data.records import DataError, Record

MOST_HELD_BACK = 500


def split_records(
    records: Sequence[Record],
    share: float,
    seed: int = 0,
    content: Callable[[Path], str] = str,
) -> tuple[list[Record], list[Record]]:
    """Training and validation records, in their order.

    Records that show the same video (or another file of the same content) stay together, so that
    the validation part is of videos that training never shows. The same data and seed give the same
    split.

    Args:
        records: at least two that do not show the same.
        share: of the records that is held back, about; at most `MOST_HELD_BACK` records.
        seed: another split.
        content: a file's identity; equal ones are the same video.

    Raises:
        DataError: if all records show the same video.
    """
    groups = _groups(records, content)
    if len(groups) < 2:
        raise DataError(
            "All entries show the same video, so that none can be held back: give a file of others "
            "with --validation."
        )
    wanted = min(max(share * len(records), 1), MOST_HELD_BACK)
    order = sorted(groups, key=lambda group: _rank(records, group, seed))
    held: set[int] = set()
    for group in order[:-1]:
        if len(held) >= wanted:
            break
        held.update(group)
    train = [record for i, record in enumerate(records) if i not in held]
    return train, [record for i, record in enumerate(records) if i in held]


def _groups(records: Sequence[Record], content: Callable[[Path], str]) -> list[list[int]]:
    """Indices of records that share a video, directly or through others."""
    parent = list(range(len(records)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for i, record in enumerate(records):
        for media in record.media:
            j = root(first.setdefault(content(media.path), i))
            parent[root(i)] = j
    groups: dict[int, list[int]] = defaultdict(list)
    for i in range(len(records)):
        groups[root(i)].append(i)
    return list(groups.values())


def _rank(records: Sequence[Record], group: list[int], seed: int) -> str:
    """A hash of names and words: it does not depend on the folder or on the entries' order."""
    said = sorted(
        f"{[media.path.name for media in records[i].media]}{[t.text for t in records[i].turns]}"
        for i in group
    )
    return hashlib.sha256(f"{seed}{said}".encode("utf-8", "backslashreplace")).hexdigest()
