"""Run a command that prints one JSON document and keep it with what it takes to judge it.

    python benchmarks/record.py benchmarks/results/NAME.json -- COMMAND ...

Adds command, commit (with "+changes" when the checkout has any), versions, machine, date and
seconds. The figures of the README come from files written this way, and nothing else.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

PACKAGES = ("mobile-videogpt", "torch", "transformers", "av", "pillow", "numpy")


def git(*arguments: str) -> str:
    """What git prints; empty outside a checkout."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit() -> str:
    """The commit that is checked out."""
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
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


def main(arguments: list[str]) -> int:
    """Record one command; returns its exit code."""
    if len(arguments) < 3 or arguments[1] != "--":
        print(__doc__, file=sys.stderr)
        return 2
    target, command = Path(arguments[0]), arguments[2:]
    # Before the command: what it runs is what is checked out now.
    origin = {"command": shlex.join(command), "commit": commit(), "versions": versions()}
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        return done.returncode
    origin |= {
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.perf_counter() - start, 1),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    document = {**json.loads(done.stdout), **origin}
    target.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
