"""Put what an ablation found into the repository: its JSON, figures and tables.

    mobile-videogpt ablate configs/ablations.yaml
    python benchmarks/ablations.py runs/ablations

Copies results.json to benchmarks/results/ablations.json and both figures to docs/images, and puts
the tables into docs/ablations.md. Every number there comes from that JSON. Without a folder only
the tables are made anew; with --check nothing is written: the exit code says whether the page shows
what was recorded.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from page_tables import ROOT, add_check_option, show

from mobile_videogpt.evaluation.ablation.selection import render_recall
from mobile_videogpt.evaluation.ablation.table import render_differences, render_table

RESULTS = ROOT / "benchmarks" / "results" / "ablations.json"
FIGURES = {"ablations.png": "ablations.png", "selection.png": "frame-selection.png"}


def recorded() -> dict[str, Any]:
    """The results that are kept in the repository."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))


PAGES = {
    "docs/ablations.md": {
        "table": lambda: render_table(recorded()),
        "differences": lambda: render_differences(recorded()),
        "selection": lambda: render_recall(recorded()["selection"]),
    }
}


def main() -> int:
    """Copy what an ablation found, if one is named, and show it; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("output", type=Path, nargs="?", help="folder of an ablation")
    add_check_option(parser)
    args = parser.parse_args()
    if args.output is not None and args.check:
        parser.error("--check is about what is recorded: it takes no folder.")
    if args.output is not None:
        keep(args.output)
    return show(PAGES, check=args.check)


def keep(output: Path) -> None:
    """Copy results and figures of an ablation."""
    shutil.copyfile(output / "results.json", RESULTS)
    for name, target in FIGURES.items():
        shutil.copyfile(output / name, ROOT / "docs" / "images" / target)


if __name__ == "__main__":
    sys.exit(main())
