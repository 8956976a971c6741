"""Files that are whole or not there: written under another name, or line by line, then renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that an interrupted or failed write leaves no half file behind."""
    if path.exists() and not path.is_file():
        # A device or a pipe (/dev/stdout): there is nothing to replace.
        path.write_bytes(content)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write one JSON document; unicode stays readable, NaN is refused as no other parser reads it.

    Raises:
        ValueError: the document holds NaN or an infinity.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    write_atomically(path, f"{text}\n".encode("utf-8", "backslashreplace"))


class JsonLinesFile:
    """JSON objects, one a line, appended to `path` and written through at once.

    A killed run leaves a torn last line at most: it is cut off when the file is opened again.

    Args:
        path: a file, existing or not; a device such as /dev/stdout is only written to.
        hint: ends the message about a file that holds something else.

    Raises:
        ValueError: a line of an existing file is no JSON object.
    """

    def __init__(self, path: Path, hint: str = "name another file") -> None:
        self.path = path
        self.hint = hint
        self.records = self._read() if path.is_file() else []

    def append(self, line: str) -> None:
        """Write one line through to the file."""
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{line}\n")

    def _read(self) -> list[dict[str, Any]]:
        """What the file holds; a last line without its end is cut off."""
        content = self.path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        records = self._parse(complete)
        rest = content[len(complete) :]
        if rest:
            if not rest.startswith(b"{"):
                raise ValueError(f"{self.path} does not end in a line of JSON; {self.hint}")
            with self.path.open("r+b") as file:
                file.truncate(len(complete))
        return records

    def _parse(self, content: bytes) -> list[dict[str, Any]]:
        records = []
        for number, line in enumerate(content.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise ValueError(f"line {number} of {self.path} is not a JSON object; {self.hint}")
            records.append(record)
        return records
