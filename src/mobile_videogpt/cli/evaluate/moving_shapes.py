"""`mobile-videogpt eval moving-shapes` alone: its own report, with or without a run's folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import quiet_libraries, require_writable_folder
from mobile_videogpt.cli.evaluate.arguments import process_shard
from mobile_videogpt.cli.evaluate.progress import RunProgress
from mobile_videogpt.cli.evaluate.tables import print_families
from mobile_videogpt.cli.output import answer_json
from mobile_videogpt.files import write_json

NAME = "moving-shapes"


def is_alone(args: argparse.Namespace) -> bool:
    """Whether MovingShapes is all that is asked for."""
    return list(dict.fromkeys(args.tasks)) == [NAME]


def is_report_only(args: argparse.Namespace) -> bool:
    """Whether no run's folder is wanted: no --output, or a .json file for the report."""
    return is_alone(args) and (args.output is None or args.output.suffix == ".json")


def run(args: argparse.Namespace) -> int:
    """Ask, and print the accuracies; nothing is kept but what --output names."""
    if process_shard(args.shard)[1] > 1 or args.retry_errors:
        raise ValueError(
            "--shard, --retry-errors and several processes need a run's folder; name one with "
            "--output"
        )
    if args.output is not None:
        require_writable_folder(args.output)
    quiet_libraries(args.debug)
    from mobile_videogpt.evaluation import moving_shapes

    asking = moving_shapes.Asking(args.answer_by, not args.no_blind, args.scoring)
    with RunProgress() as progress:
        report = moving_shapes.evaluate(
            model=args.model,
            seed=args.seed,
            limit=args.limit,
            asking=asking,
            watcher=progress,
            device=args.device,
            dtype=args.dtype,
            engine=args.engine,
            merge_tokens=args.merge_tokens,
        )
    if args.output is not None:
        write_json(args.output, report, indent=2)
    if args.json:
        answer_json(report)
    else:
        print_families(report)
    return 0


def recorded_report(args: argparse.Namespace, output: Path) -> dict[str, Any]:
    """The same report from the predictions of a complete run."""
    from mobile_videogpt.evaluation import moving_shapes
    from mobile_videogpt.evaluation.predictions import read_predictions

    predictions = {name: read_predictions(output / name) for name in moving_shapes.TASKS}
    limit = args.limit or moving_shapes.DEFAULT_QUESTIONS
    report = moving_shapes.report(
        moving_shapes.results_of(args.seed, limit, predictions), args.answer_by
    )
    return moving_shapes.with_settings(report, args.model, args.seed, args.merge_tokens)
