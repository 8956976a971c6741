"""Run a command that prints one JSON document and keep it with what it takes to judge it.

    python benchmarks/record.py benchmarks/results/NAME.json -- COMMAND ...

Adds command, commit (with "+changes" when the checkout has any), versions, machine, date and
seconds. The figures of the README come from files written this way, and nothing else.
"""

import json
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from mobile_videogpt.provenance import commit_of, machine, versions

ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> int:
    """Record one command; returns its exit code."""
    if len(arguments) < 3 or arguments[1] != "--":
        print(__doc__, file=sys.stderr)
        return 2
    target, command = Path(arguments[0]), arguments[2:]
    # Before the command: what it runs is what is checked out now.
    origin = {"command": shlex.join(command), "commit": commit_of(ROOT), "versions": versions()}
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
