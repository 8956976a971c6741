"""Small files that a run keeps: they are whole or not there, whenever the run is killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write `value` under a temporary name, then rename."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    os.replace(partial, path)


def read_done_blocks(path: Path) -> set[int]:
    """The blocks that a resumable job has marked as done; none if there is no such file."""
    return set(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else set()
