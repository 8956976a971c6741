"""Small files that a run keeps: they are whole or not there, whenever the run is killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..files import write_atomically


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write `value` under a temporary name, then rename."""
    write_text(path, json.dumps(value, indent=indent))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 under a temporary name, then rename.

    Halves of a character that UTF-8 cannot hold (a file's name may have them) are written as
    escapes; line ends stay as they are.
    """
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def read_done_blocks(path: Path) -> set[int]:
    """The blocks that a resumable job has marked as done; none if there is no such file."""
    return set(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else set()
