"""Schemathesis against the server's own description of itself.

    python benchmarks/record.py benchmarks/results/serving-schemathesis.json -- \\
        python benchmarks/serving_schemathesis.py SCHEMATHESIS

SCHEMATHESIS is the program, from an environment of its own (`pip install schemathesis`). Prints one
JSON document; exits with 1 if it found anything. Left out is the check that everything the schema
allows is accepted: no schema says that a file must be a video, or a dialogue end in a question.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

from served import Served

LEFT_OUT = "positive_data_acceptance"
OPTIONS = ("--max-examples", "120", "--seed", "1", "--workers", "1")


def main() -> int:
    """Run it, and read its summary."""
    program = sys.argv[1] if len(sys.argv) > 1 else "schemathesis"
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.strip()
    with Served("--requests-per-minute", "0") as server:
        url = f"{server.url}/openapi.json"
        command = [program, "run", url, *OPTIONS, "--exclude-checks", LEFT_OUT, "--no-color"]
        done = subprocess.run(command, capture_output=True, text=True)
        document: dict[str, Any] = {"schemathesis": version, **figures(done.stdout)}
        document["failures"] = re.findall(r"❌ (ST\d+ .*)", done.stdout)
        document["tracebacks_in_log"] = sum("Traceback" in line for line in server.log)
        document["is_alive"] = server.is_alive
    document["exit_codes"] = {"schemathesis": done.returncode, "server": server.exit_code}
    print(json.dumps(document))
    if done.returncode:
        print(done.stdout[-3000:], file=sys.stderr)
    return 1 if document["failures"] or done.returncode or server.exit_code else 0


def figures(text: str) -> dict[str, int]:
    """Operations that were tested and requests that were made."""
    operations = re.search(r"Tested: (\d+)", text)
    cases = re.search(r"(\d+) generated", text)
    return {
        "operations": int(operations.group(1)) if operations else 0,
        "requests": int(cases.group(1)) if cases else 0,
    }


if __name__ == "__main__":
    sys.exit(main())
