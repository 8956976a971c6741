"""`mobile-videogpt convert`: rewrite a checkpoint in our layout or in the released one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import quiet_libraries
from mobile_videogpt.cli.output import answer, status


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `convert`."""
    parser = subparsers.add_parser(
        "convert",
        parents=parents,
        help="rewrite a checkpoint in another layout",
        description="Read a checkpoint in the released layout or in ours and write it in the "
        "other; tensor values stay as they are. Prints the folder written.",
    )
    parser.add_argument("source", metavar="SRC", help="a folder or a Hugging Face id")
    parser.add_argument("destination", type=Path, metavar="DST", help="a new or empty folder")
    parser.add_argument(
        "--to",
        choices=("ours", "released"),
        default="ours",
        help="layout to write (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert, and print where to."""
    destination = args.destination
    if destination.exists() and not destination.is_dir():
        raise ValueError(f"{destination} is a file; DST must be a folder, new or empty")
    if destination.is_dir() and any(destination.iterdir()):
        raise ValueError(f"the folder {destination} is not empty; give a new one as DST")
    quiet_libraries(args.debug)
    with status(f"converting {args.source}"):
        from mobile_videogpt.checkpoints import convert

        convert(args.source, destination, to=args.to)
    answer(str(destination))
    return 0
