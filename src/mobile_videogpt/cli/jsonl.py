"""A file of JSON lines that a killed run leaves behind and the next run takes up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class JsonLines:
    """Appends records to `path`, one line each, written through at once.

    Args:
        path: a file, existing or not; a device such as /dev/stdout is only written to.

    Raises:
        ValueError: a line of an existing file is no JSON document.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = self._read() if path.is_file() else []

    def done(self, identity: dict[str, Any]) -> set[str]:
        """Videos whose latest record with these values holds a description."""
        state: dict[str, bool] = {}
        for record in self.records:
            if all(record.get(name) == value for name, value in identity.items()):
                state[record.get("video", "")] = "description" in record
        return {video for video, is_done in state.items() if is_done}

    def append(self, line: str) -> None:
        """Write one line through to the file."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def _read(self) -> list[dict[str, Any]]:
        """What the file holds; a last line without its end (the run was killed) is cut off."""
        content = self.path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        records = []
        for number, line in enumerate(complete.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise ValueError(
                    f"line {number} of {self.path} is not a JSON object; "
                    "give --output a file that `describe` wrote, or a new one"
                )
            records.append(record)
        rest = content[len(complete) :]
        if rest:
            if not rest.startswith(b"{"):
                raise ValueError(
                    f"{self.path} does not end in a line of JSON; "
                    "give --output a file that `describe` wrote, or a new one"
                )
            with self.path.open("r+b") as file:
                file.truncate(len(complete))
        return records
