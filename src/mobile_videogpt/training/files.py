"""Small files that a run keeps: they are whole or not there, whenever the run is killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write `value` under a temporary name, then rename."""
    write_text(path, json.dumps(value, indent=indent))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 under a temporary name, then rename.

    Halves of a character that UTF-8 cannot hold (a file's name may have them) are written as
    escapes; line ends stay as they are.
    """
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(text.encode("utf-8", "backslashreplace"))
    os.replace(partial, path)


def read_done_blocks(path: Path) -> set[int]:
    """The blocks that a resumable job has marked as done; none if there is no such file."""
    return set(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else set()
