"""`mobile-videogpt eval`: measure a model on a benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import (
    add_merge_argument,
    add_model_arguments,
    positive_int,
    quiet_libraries,
    require_writable_folder,
)
from mobile_videogpt.cli.output import answer, answer_json, to_json
from mobile_videogpt.files import write_atomically


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `eval` with its benchmarks."""
    parser = subparsers.add_parser(
        "eval",
        parents=parents,
        help="measure a model on a benchmark",
        description="Measure a model on a benchmark.",
    )
    benchmarks = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True)
    shapes = benchmarks.add_parser(
        "moving-shapes",
        parents=parents,
        help="questions about unseen synthetic clips",
        description="Ask questions about MovingShapes clips that training never saw, beside "
        "chance, the majority class and a blind run without the video.",
    )
    shapes.add_argument("--seed", type=int, default=0, metavar="S", help="which unseen clips")
    shapes.add_argument("--limit", type=positive_int, metavar="N", help="at most N questions")
    shapes.add_argument("--json", action="store_true", help="the whole report as JSON")
    shapes.add_argument("--output", type=Path, metavar="JSON", help="write the report here too")
    add_merge_argument(shapes)
    add_model_arguments(shapes)
    shapes.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the accuracies."""
    if args.output is not None:
        require_writable_folder(args.output)
    quiet_libraries(args.debug)
    from mobile_videogpt.evaluation import moving_shapes

    report = moving_shapes.evaluate(
        model=args.model,
        seed=args.seed,
        limit=args.limit,
        device=args.device,
        dtype=args.dtype,
        engine=args.engine,
        merge_tokens=args.merge_tokens,
    )
    if args.output is not None:
        write_atomically(args.output, f"{to_json(report, indent=2)}\n".encode())
    if args.json:
        answer_json(report)
    else:
        _print(report)
    return 0


def _print(report: dict[str, Any]) -> None:
    columns = ("multiple_choice", "open", "chance", "majority", "blind")
    width = max(len("family"), *(len(name) for name in report["families"]))
    header = " ".join(f"{column.replace('_', ' '):>15}" for column in columns)
    answer(f"{'family':<{width}} {header} {'questions':>10}")
    for name, row in report["families"].items():
        cells = " ".join(f"{_percent(row.get(column)):>15}" for column in columns)
        answer(f"{name:<{width}} {cells} {row['n']:>10}")
    answer(
        f"multiple choice {_percent(report['multiple_choice_accuracy'])} (mean over families), "
        f"open answers {_percent(report['open_accuracy'])}, "
        f"{report['questions']} questions, seed {report['seed']}"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
