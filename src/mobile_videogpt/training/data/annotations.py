"""Annotation files -> records: LLaVA's layout, chat messages, and tables.

LLaVA: ``image`` or ``video`` (a name or a list), ``conversations`` of ``from`` and ``value`` with
tags. Messages: ``role`` and ``content``, typed content or tags with ``videos`` and ``images``
beside. Tables: ``video`` or ``image``, ``question``, ``answer``. VideoChat2-IT: ``QA``, a list of
``q``, ``a`` and an instruction ``i``. All know ``start`` and ``end``
in seconds and ``id``; other fields become a record's details.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from .entries import is_table, read_entries
from .layouts import READERS, Entry, layout_of
from .records import DataError, EntryError, Record

Layout = Literal["auto", "llava", "messages", "csv", "videochat2"]
LAYOUTS: tuple[Layout, ...] = ("auto", "llava", "messages", "csv", "videochat2")


def read_annotations(
    path: str | Path,
    *,
    media_root: str | Path | None = None,
    layout: Layout = "auto",
    strict: bool = True,
) -> list[Record]:
    """Read a file of annotations.

    Args:
        path: JSON, JSON lines, CSV or TSV.
        media_root: what relative media paths start from; by default the file's folder.
        layout: "llava", "messages", "csv", "videochat2", or "auto" to tell by the entry.
        strict: False accepts media without a tag (put in front) and tags without media (dropped).

    Raises:
        DataError: for the first entry that cannot be used; `scan_annotations` finds all of them.
    """
    records = []
    for found in scan_annotations(path, media_root=media_root, layout=layout, strict=strict):
        if isinstance(found, EntryError):
            raise found
        records.append(found)
    return records


def scan_annotations(
    path: str | Path,
    *,
    media_root: str | Path | None = None,
    layout: Layout = "auto",
    strict: bool = True,
) -> Iterator[Record | EntryError]:
    """Every entry in order, as a record or as what is wrong with it; see `read_annotations`.

    Raises:
        DataError: for a file that cannot be read at all.
    """
    if layout not in LAYOUTS:
        raise DataError(f"layout {layout!r} is unknown: use {', '.join(LAYOUTS)}.")
    path = Path(path)
    root = Path(media_root) if media_root is not None else path.parent
    if layout == "auto" and is_table(path):
        layout = "csv"
    for origin, fields in read_entries(path):
        if isinstance(fields, EntryError):
            yield fields
            continue
        try:
            reader = READERS[layout_of(origin, fields) if layout == "auto" else layout]
            yield reader(Entry(origin, fields, root, strict))
        except EntryError as error:
            yield error
