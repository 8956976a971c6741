"""Files that are whole or not there: written under another name, or line by line, then renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def user_cache(name: str, variable: str) -> Path:
    """A folder of this package in the user's cache, or where an environment variable points.

    Args:
        name: of the folder.
        variable: the environment variable that names another one.
    """
    if given := os.environ.get(variable):
        return Path(given).expanduser()
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "mobile-videogpt" / name


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


def read_json_lines(path: Path, hint: str = "name another file") -> list[dict[str, Any]]:
    """The whole lines of a file, which another process may be writing to; it is left as it is.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is no JSON object; the message ends with `hint`.
    """
    content = path.read_bytes()
    records = []
    for number, line in enumerate(content[: _end_of_lines(content)].split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise ValueError(f"line {number} of {path} is not a JSON object; {hint}")
        records.append(record)
    return records


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
        self.records: list[dict[str, Any]] = []
        if path.is_file():
            self.records = read_json_lines(path, hint)
            self._cut_off_torn_line(hint)

    def append(self, line: str) -> None:
        """Write one line through to the file."""
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{line}\n")

    def _cut_off_torn_line(self, hint: str) -> None:
        content = self.path.read_bytes()
        end = _end_of_lines(content)
        if end == len(content):
            return
        if not content[end:].startswith(b"{"):
            raise ValueError(f"{self.path} does not end in a line of JSON; {hint}")
        with self.path.open("r+b") as file:
            file.truncate(end)


def _end_of_lines(content: bytes) -> int:
    """Where the last whole line ends."""
    return content.rfind(b"\n") + 1
