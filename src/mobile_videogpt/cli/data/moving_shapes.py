"""`mobile-videogpt data moving-shapes`: synthetic clips with their questions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import positive_int
from mobile_videogpt.cli.output import answer, status


def add_parser(kinds: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add `data moving-shapes`."""
    shapes = kinds.add_parser(
        "moving-shapes",
        parents=parents,
        help="synthetic clips of moving shapes with questions and exact answers",
        description="Write MovingShapes clips as mp4 files with the annotations that training "
        "reads. The same seed gives the same clips.",
    )
    shapes.add_argument("out", type=Path, metavar="OUT", help="folder to write into")
    shapes.add_argument("--clips", type=positive_int, default=100, metavar="N")
    shapes.add_argument("--seed", type=int, default=0, metavar="S")
    shapes.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the data set and print its folder."""
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"{args.out} is a file; OUT must be a folder, existing or not")
    from mobile_videogpt import synthetic

    with status(f"rendering {args.clips} clips"):
        synthetic.write_dataset(args.out, num_clips=args.clips, seed=args.seed)
    answer(str(args.out))
    return 0
