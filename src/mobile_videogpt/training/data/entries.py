"""The entries of an annotation file, before anybody asks what they mean.

JSON (a list of objects), JSON lines, CSV and TSV. A broken line of JSON lines is an entry that
cannot be used; broken JSON is a file that cannot. Whole files are read at once: the largest of the
paper's is some hundred megabytes, which needs neither Arrow nor the package `datasets`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .records import DataError, EntryError

TABLES = {".csv": ",", ".tsv": "\t"}
JSON_LINES = frozenset({".jsonl", ".ndjson"})

Entry = tuple[str, dict[str, Any] | EntryError]


def read_entries(path: Path) -> Iterator[Entry]:
    """Each entry with its origin, as a mapping of fields or as the error that it is.

    Raises:
        DataError: for a file that is missing, not UTF-8, or not JSON.
    """
    text = _read_text(path)
    suffix = path.suffix.lower()
    if suffix in TABLES:
        yield from _table_rows(path, text, TABLES[suffix])
    elif suffix in JSON_LINES:
        yield from _json_lines(path, text)
    else:
        yield from _json_list(path, text)


def is_table(path: Path) -> bool:
    """Whether the file's suffix says that it is CSV or TSV."""
    return path.suffix.lower() in TABLES


def _read_text(path: Path) -> str:
    try:
        # utf-8-sig: spreadsheets write a byte-order mark that would become part of a column's name.
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"No annotation file at {path}: check its path.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder: give the annotation file in it.") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8."
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None


def _json_list(path: Path, text: str) -> Iterator[Entry]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        if _looks_like_json_lines(text):
            yield from _json_lines(path, text)
            return
        raise DataError(
            f"{path} line {error.lineno} column {error.colno} is not JSON: {error.msg}."
        ) from None
    except (ValueError, RecursionError) as error:  # endless numbers, endless brackets
        raise DataError(f"{path} cannot be read as JSON: {error}.") from None
    if isinstance(document, dict):
        document = [document]
    if not isinstance(document, list):
        raise DataError(
            f"{path} holds a {type(document).__name__}: give a list of entries or JSON lines."
        )
    for number, value in enumerate(document, start=1):
        origin = f"{path} entry {number}"
        yield origin, _mapping(origin, value)


def _looks_like_json_lines(text: str) -> bool:
    """JSON lines under the name .json: the first line is a whole document of its own."""
    first = text.lstrip().partition("\n")[0]
    try:
        return isinstance(json.loads(first), dict)
    except ValueError:
        return False


def _json_lines(path: Path, text: str) -> Iterator[Entry]:
    # Not splitlines: U+2028 and its like may stand inside a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        origin = f"{path} line {number}"
        try:
            yield origin, _mapping(origin, json.loads(line))
        except json.JSONDecodeError as error:
            message = f"not JSON: {error.msg} at column {error.colno}."
            yield origin, EntryError(origin, message, "json")
        except (ValueError, RecursionError) as error:
            yield origin, EntryError(origin, f"cannot be read as JSON: {error}.", "json")


def _mapping(origin: str, value: Any) -> dict[str, Any] | EntryError:
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return {"messages": value}  # a bare conversation
    return EntryError(origin, f"a {type(value).__name__} is no entry: give an object with fields.")


def _table_rows(path: Path, text: str, delimiter: str) -> Iterator[Entry]:
    header = text.partition("\n")[0]
    if delimiter not in header and ";" in header:
        delimiter = ";"  # what spreadsheets write where the comma is the decimal sign
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="")
    try:
        rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
        begun = rows.line_num + 1
        for row in rows:
            origin, begun = f"{path} line {begun}", rows.line_num + 1
            yield origin, _table_row(origin, row, len(rows.fieldnames))
    except csv.Error as error:
        raise DataError(f"{path} line {rows.line_num + 1} is not a table: {error}.") from None


def _table_row(origin: str, row: dict[str, Any], columns: int) -> dict[str, Any] | EntryError:
    if any(row.get("") or ()):
        return EntryError(
            origin, f"more than {columns} columns: put text with the delimiter in quotes."
        )
    return {name: value or "" for name, value in row.items() if name}
