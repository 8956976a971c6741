"""What earlier checks saw in files, kept as JSON lines; a changed file is looked at again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .probe import Probe, Task
from .workers import Failure, Result


class ProbeMemory:
    """Results by path, size and time of change.

    Args:
        file: where they are kept, or None to remember nothing. A line that cannot be read (the
            check was killed while writing) is looked at again.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, dict[str, Any]] = {}
        if file is None or not file.is_file():
            return
        for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                document = json.loads(line)
                self._known[document["path"]] = document
            except (ValueError, KeyError, TypeError):
                continue

    def recall(self, task: Task) -> Result | None:
        """What was seen in this file as it is now and answers the task; a hang is tried again."""
        document = self._known.get(str(task.path))
        if document is None or document.get("stamp") != _stamp(task.path):
            return None
        try:
            if "failure" in document:
                failure = Failure(**document["failure"])
                return failure if failure.kind == "undecodable" else None
            fields = document["probe"]
            probe = Probe(**{**fields, "notes": tuple(fields["notes"])})
        except (KeyError, TypeError):
            return None  # another version of this package wrote it
        lacks = (task.digest and not probe.digest) or (task.thumbnail and not probe.thumbnail)
        return None if lacks and task.path.is_file() else probe

    def keep(self, task: Task, result: Result) -> None:
        """Write a result through."""
        if self._file is None:
            return
        kind = "failure" if isinstance(result, Failure) else "probe"
        document = {"path": str(task.path), "stamp": _stamp(task.path), kind: asdict(result)}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(document)}\n")


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
