"""What a run was made with: written when it starts, because afterwards nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..provenance import command_line, machine, package_commit, versions
from .files import write_json

PACKAGES = ("mobile-videogpt", "torch", "transformers", "peft", "accelerate", "numpy")


def note_start(output: Path, recipe: Path) -> None:
    """Write `OUTPUT/run.json`, unless a run that is now resumed has left one."""
    path = output / "run.json"
    if not path.exists():
        output.mkdir(parents=True, exist_ok=True)
        write_json(path, provenance(recipe), indent=1)


def provenance(recipe: Path) -> dict[str, Any]:
    """Recipe, command, commit of the package's checkout (None outside one), versions, machine."""
    return {
        "recipe": str(recipe),
        "command": command_line(),
        "commit": package_commit(),
        "versions": versions(PACKAGES),
        "machine": machine(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
