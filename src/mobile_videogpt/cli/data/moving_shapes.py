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
    shapes.add_argument("--clips", type=positive_int, metavar="N", help="(default: 100)")
    shapes.add_argument("--seed", type=int, metavar="S", help="which clips (default: 0)")
    shapes.add_argument(
        "--test-set",
        action="store_true",
        help="instead the fixed test set, by which models are compared: checked clips, "
        "questions.jsonl, and tasks for lmms-eval",
    )
    shapes.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the data set and print its folder."""
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"{args.out} is a file; OUT must be a folder, existing or not")
    if args.test_set:
        if args.clips is not None or args.seed is not None:
            raise ValueError("the test set is always the same; leave out --clips and --seed")
        _write_test_set(args.out)
    else:
        from mobile_videogpt import synthetic

        clips, seed = args.clips or 100, args.seed or 0
        with status(f"rendering {clips} clips"):
            synthetic.write_dataset(args.out, num_clips=clips, seed=seed)
    answer(str(args.out))
    return 0


def _write_test_set(out: Path) -> None:
    from mobile_videogpt.evaluation.lmms_eval.moving_shapes import write_tasks
    from mobile_videogpt.synthetic.test_set import write_test_set

    with status("rendering and checking the test set"):
        write_tasks(write_test_set(out))
