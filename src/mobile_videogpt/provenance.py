"""What a result was made with: commit, versions and machine, kept beside every figure."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

PACKAGES = ("mobile-videogpt", "torch", "transformers", "av", "pillow", "numpy")


def command_line() -> str:
    """The command that runs now, without the folder of the program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def package_commit() -> str | None:
    """The commit that the running code was checked out from, see `commit_of`."""
    return commit_of(Path(__file__).parent)


def commit_of(folder: Path) -> str | None:
    """The commit that is checked out, "+changes" if tracked files below `folder` were edited.

    None outside a checkout, or without git.
    """
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return commit + ("+changes" if changed else "")


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of the installed ones among `packages`."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int | None]:
    """The processor and how much of it there is."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
    return {"cpu": name, "cores": os.cpu_count(), "platform": platform.platform()}


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=folder)
    except OSError:  # no git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
