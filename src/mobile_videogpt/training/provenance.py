"""What a run was made with: written when it starts, because afterwards nobody knows."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

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
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": package_commit(),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {"cores": os.cpu_count(), "platform": platform.platform()},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def package_commit() -> str | None:
    """The commit that the running code was checked out from, "+changes" if it was edited."""
    folder = Path(__file__).parent
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return None
    return commit + ("+changes" if _git(folder, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=folder)
    except OSError:  # no git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
