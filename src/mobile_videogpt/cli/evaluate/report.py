"""`mobile-videogpt eval report`: write the report of a run again, finished or not."""

from __future__ import annotations

import argparse
from pathlib import Path

from mobile_videogpt.cli.output import answer

HELP = "Write report.md, report.html, report.json and the charts of a run anew."

EPILOG = """\
`mobile-videogpt eval` does this at its end; here it is done for a run that is still going, was
stopped, or came from an older version. No model is loaded and nothing is asked again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `eval report` takes."""
    parser.epilog = EPILOG
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a folder that eval wrote")


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it is."""
    from mobile_videogpt.evaluation.report import write_report

    write_report(args.run_folder)
    for name in ("report.md", "report.html", "report.json"):
        answer(str(args.run_folder / name))
    return 0
