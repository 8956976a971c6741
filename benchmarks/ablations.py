"""Put what an ablation found into the repository: its JSON, figures and tables.

    mobile-videogpt ablate configs/ablations.yaml
    python benchmarks/ablations.py runs/ablations

Copies results.json to benchmarks/results/ablations.json and both figures to docs/images, and puts
the tables into docs/ablations.md. Every number there comes from that JSON. Without a folder only
the tables are made anew; with --check nothing is written: the exit code says whether the page shows
what was recorded.
"""

import argparse
import shutil
import sys
from pathlib import Path

from page_tables import RESULTS, ROOT, add_check_option, recorded, show

from mobile_videogpt.evaluation.ablation.selection import render_recall
from mobile_videogpt.evaluation.ablation.table import render_differences, render_table

RESULT = "ablations.json"
FIGURES = {"ablations.png": "ablations.png", "selection.png": "frame-selection.png"}


PAGES = {
    "docs/ablations.md": {
        "table": lambda: render_table(recorded(RESULT)),
        "differences": lambda: render_differences(recorded(RESULT)),
        "selection": lambda: render_recall(recorded(RESULT)["selection"]),
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
    shutil.copyfile(output / "results.json", RESULTS / RESULT)
    for name, target in FIGURES.items():
        shutil.copyfile(output / name, ROOT / "docs" / "images" / target)


if __name__ == "__main__":
    sys.exit(main())
