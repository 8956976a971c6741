"""Put a recorded speed benchmark into the documents, between their markers.

    python benchmarks/speed_tables.py [--check]

Reads benchmarks/results/speed-0.5b.json, which `mobile-videogpt bench --output` wrote, and fills in
README.md and docs/performance.md. With --check nothing is written: the exit code says whether the
documents show what was recorded.
"""

import json
import sys
from pathlib import Path

from mobile_videogpt.benchmark import markdown

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "speed-0.5b.json"
NOT_RUN = "Not run yet.\n"
PAGES = {
    "README.md": {"speed": (markdown.rows_table, markdown.origin_line)},
    "docs/performance.md": {
        "contestants": (markdown.contestants_table, markdown.origin_line),
        "parts": (markdown.parts_table,),
    },
}


def filled(page: str, text: str, report: dict | None) -> str:
    """The page with its tables made from the report; "not run" without one."""
    for name, makers in PAGES[page].items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, rest = text.split(begin)
        after = rest.split(end)[1]
        shown = NOT_RUN if report is None else "\n".join(make(report) for make in makers)
        text = f"{before}{begin}{shown}{end}{after}"
    return text


def main(arguments: list[str]) -> int:
    """Fill in or check every page."""
    report = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else None
    stale = []
    for page in PAGES:
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        wanted = filled(page, text, report)
        if wanted != text:
            stale.append(page)
            if "--check" not in arguments:
                path.write_text(wanted, encoding="utf-8")
    if stale:
        print("changed:" if "--check" not in arguments else "stale:", ", ".join(stale))
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
