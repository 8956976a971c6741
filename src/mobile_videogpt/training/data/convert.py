"""Records -> an annotation file in any of the layouts that `annotations` reads."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..files import write_text
from .entries import JSON_LINES, TABLES
from .records import DataError, Media, Record, Turn

LAYOUTS = ("llava", "messages", "csv")
_FROM = {"user": "human", "assistant": "gpt", "system": "system"}


def write_annotations(
    records: Iterable[Record],
    path: str | Path,
    layout: str | None = None,
    *,
    media_root: str | Path | None = None,
) -> int:
    """Write records to a file and return their number.

    Args:
        records: what to write.
        path: .json, .jsonl, .csv or .tsv; the file appears when it is whole.
        layout: "llava", "messages" or "csv"; by default that of the suffix, "llava" for JSON.
        media_root: what media paths are written relative to; by default the file's folder, so that
            the file is read without naming a root.

    Raises:
        DataError: for a record that the layout cannot hold.
    """
    path = Path(path)
    layout = layout or default_layout(path)
    if layout not in LAYOUTS:
        raise DataError(f"layout {layout!r} is unknown: use {', '.join(LAYOUTS)}.")
    if (layout == "csv") != (path.suffix.lower() in TABLES):
        raise DataError(f"{path} does not fit the layout {layout}: use .csv or .tsv for tables.")
    root = Path(media_root) if media_root is not None else path.parent
    entry = {"llava": _llava, "messages": _messages, "csv": _row}[layout]
    entries = [entry(record, root) for record in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    if layout == "csv":
        write_text(path, _table(entries, TABLES[path.suffix.lower()]))
    elif path.suffix.lower() in JSON_LINES:
        write_text(path, "".join(f"{_json(item)}\n" for item in entries))
    else:
        lines = ",\n".join(_json(item) for item in entries)
        write_text(path, f"[\n{lines}\n]\n" if entries else "[]\n")
    return len(entries)


def default_layout(path: Path) -> str:
    """The layout that a file's suffix stands for."""
    return "csv" if path.suffix.lower() in TABLES else "llava"


def _llava(record: Record, root: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": record.id}
    for kind in ("image", "video"):
        names = [_name(media, root) for media in record.media if media.kind == kind]
        if names:
            entry[kind] = names[0] if len(names) == 1 else names
    stretches = {(media.start, media.end) for media in record.media}
    if len(stretches) > 1:
        raise DataError(
            f"{record.origin}: its files have different start and end, for which the layout llava "
            "has no place: use messages."
        )
    entry |= _seconds(record.media[0]) if record.media else {}
    entry["conversations"] = [
        {"from": _FROM[turn.role], "value": _tagged(turn)} for turn in record.turns
    ]
    return {**record.details, **entry}


def _messages(record: Record, root: Path) -> dict[str, Any]:
    messages = [
        {"role": turn.role, "content": _content(turn, root) if turn.media else turn.text}
        for turn in record.turns
    ]
    return {**record.details, "id": record.id, "messages": messages}


def _row(record: Record, root: Path) -> dict[str, Any]:
    turns = list(record.turns)
    row: dict[str, Any] = {"id": record.id}
    if turns[0].role == "system":
        row["system"] = turns.pop(0).text
    if [turn.role for turn in turns] != ["user", "assistant"] or len(record.media) > 1:
        raise DataError(
            f"{record.origin}: a table holds one question, one answer and at most one file, this "
            f"has {len(turns)} turns and {len(record.media)} files: use llava or messages."
        )
    for media in record.media:
        row |= {media.kind: _name(media, root), **_seconds(media)}
    row |= {"question": turns[0].text, "answer": turns[1].text}
    return {**record.details, **row}


def _tagged(turn: Turn) -> str:
    return "".join(f"<{media.kind}>\n" for media in turn.media) + turn.text


def _content(turn: Turn, root: Path) -> list[dict[str, Any]]:
    media = [
        {"type": item.kind, item.kind: _name(item, root), **_seconds(item)} for item in turn.media
    ]
    return [*media, {"type": "text", "text": turn.text}]


def _seconds(media: Media) -> dict[str, float]:
    given = {"start": media.start, "end": media.end}
    return {name: value for name, value in given.items() if value is not None}


def _name(media: Media, root: Path) -> str:
    """The path as seen from `root`, with slashes, as annotations are read on any system."""
    # A folder's symbolic links are followed, because ".." would follow them; the file's own is not.
    path = _real(media.path.parent) / media.path.name
    try:
        return Path(os.path.relpath(path, _real(root))).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


@lru_cache(maxsize=1024)
def _real(folder: Path) -> Path:
    return folder.resolve()


def _table(rows: list[dict[str, Any]], delimiter: str) -> str:
    first = ("id", "video", "image", "start", "end", "system", "question", "answer")
    used = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in first if name in used] + [n for n in used if n not in first]
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(
        buffer, columns or ["question", "answer"], delimiter=delimiter, lineterminator="\n"
    )
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
