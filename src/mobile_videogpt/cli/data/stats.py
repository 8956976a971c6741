"""`mobile-videogpt data stats`: count what annotations hold."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import add_data_argument
from mobile_videogpt.cli.output import answer, answer_json, status, table

_SHOWN = 10


def add_parser(kinds: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add `data stats`."""
    parser = kinds.add_parser(
        "stats",
        parents=parents,
        help="count what annotations hold",
        description="Records, files, commonest answers, lengths and labels of annotations or a "
        "mixture, and how much of each source an epoch takes. No video is opened.",
    )
    add_data_argument(parser)
    parser.add_argument("--root", type=Path, metavar="DIR", help="where the data lies")
    parser.add_argument("--json", action="store_true", help="as JSON, source by source")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Count and print."""
    from mobile_videogpt.training.data import load_mixture
    from mobile_videogpt.training.data.stats import mixture_statistics

    with status(f"reading {args.config}"):
        statistics = mixture_statistics(load_mixture(args.config, root=args.root))
    if args.json:
        answer_json(statistics)
    else:
        _print(statistics)
    return 0


def _print(statistics: dict[str, Any]) -> None:
    whole = statistics["all"]
    table([("samples per epoch", f"{statistics['samples_per_epoch']:,}")], title=statistics["name"])
    rows = [
        (
            source["name"],
            f"{source['records']:,} records, {source['per_epoch']:,} per epoch "
            f"({100 * source['share']:.1f} %)",
        )
        for source in statistics["sources"]
    ]
    _section("sources", rows)
    _section("counts", [(k, f"{v:,}") for k, v in whole.items() if isinstance(v, int)])
    _section(
        "lengths",
        [
            (
                f"{name} (estimated)",
                f"half up to {spread['p50']:g}, 99 % up to {spread['p99']:g}, "
                f"most {spread['p100']:g}",
            )
            for name, spread in (
                ("question tokens", whole["question_tokens"]),
                ("answer tokens", whole["answer_tokens"]),
            )
            if spread
        ],
    )
    _section("commonest answers", _counted(whole["commonest_answers"]))
    for label, counts in whole["labels"].items():
        rows = [(value, f"{count:,}") for value, count in counts.items()]
        _section(label, rows[:_SHOWN] + [("…", "")] * (len(rows) > _SHOWN))


def _section(title: str, rows: list[tuple[str, str]]) -> None:
    answer(f"\n{title}")
    table([(f"  {name}", value) for name, value in rows])


def _counted(items: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (" ".join(item["text"].split())[:60], f"{item['count']:,} ({100 * item['share']:.1f} %)")
        for item in items[:_SHOWN]
    ]
