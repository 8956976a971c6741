"""Put what an ablation found into the repository: its JSON, figures and tables.

    mobile-videogpt ablate configs/ablations.yaml
    python benchmarks/ablations.py runs/ablations

Copies results.json to benchmarks/results/ablations.json and both figures to docs/images, and puts
the tables into docs/ablations.md. Every number there comes from that JSON.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobile_videogpt.evaluation.ablation.selection import render_recall
from mobile_videogpt.evaluation.ablation.table import render_differences, render_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "ablations.md"
RESULTS = ROOT / "benchmarks" / "results" / "ablations.json"
FIGURES = {"ablations.png": "ablations.png", "selection.png": "frame-selection.png"}


def main(arguments: list[str]) -> int:
    """OUTPUT of an ablation; returns the exit code."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    output = Path(arguments[0])
    shutil.copyfile(output / "results.json", RESULTS)
    for name, target in FIGURES.items():
        shutil.copyfile(output / name, ROOT / "docs" / "images" / target)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    print(PAGE)
    return 0


def fill(page: str, results: Mapping[str, Any]) -> str:
    """The page with its tables made anew from the results."""
    tables = {
        "table": render_table(results),
        "differences": render_differences(results),
        "selection": render_recall(results["selection"]),
    }
    for name, text in tables.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}{text}{end}{rest.partition(end)[2]}"
    return page


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
