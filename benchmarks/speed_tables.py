"""Put a recorded speed benchmark into the documents, between their markers.

    python benchmarks/speed_tables.py [--check]

Reads benchmarks/results/speed-0.5b.json, which `mobile-videogpt bench --output` wrote, and fills in
README.md and docs/performance.md. With --check nothing is written: the exit code says whether the
documents show what was recorded.
"""

import sys
from collections.abc import Callable
from typing import Any

from page_tables import main, recorded

from mobile_videogpt.benchmark import markdown

RESULT = "speed-0.5b.json"


def shown(*makers: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
    """What the makers say of the recorded run, below one another."""

    def make() -> str:
        report = recorded(RESULT)
        return "\n".join(make(report) for make in makers)

    return make


PAGES = {
    "README.md": {"speed": shown(markdown.rows_table, markdown.origin_line)},
    "docs/performance.md": {
        "contestants": shown(markdown.contestants_table, markdown.origin_line),
        "parts": shown(markdown.parts_table),
    },
}


if __name__ == "__main__":
    sys.exit(main(PAGES, __doc__))
