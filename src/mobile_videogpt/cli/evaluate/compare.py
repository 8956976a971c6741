"""`mobile-videogpt eval compare`: is one run better than another, or was it luck?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.output import answer, answer_json

HELP = "Test whether run A is better than run B on the questions of both."

EPILOG = """\
A and B are folders that `mobile-videogpt eval` wrote, or the report.json in them. Only questions
that both runs scored are compared; videos are drawn again and again, the same for both runs. The
p value says how often such a difference comes from two equally good runs; those of the kinds of
questions are corrected for their number (Holm)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `eval compare` takes."""
    parser.epilog = EPILOG
    parser.add_argument("first", type=Path, metavar="A", help="a run's folder, or its report.json")
    parser.add_argument("second", type=Path, metavar="B", help="the other one")
    parser.add_argument("--json", action="store_true", help="the whole comparison as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare and print."""
    from mobile_videogpt.evaluation.compare import compare, read_answers

    compared = compare(read_answers(args.first), read_answers(args.second))
    if args.json:
        answer_json(compared)
    else:
        print_comparison(compared)
    return 0


def print_comparison(compared: dict[str, Any]) -> None:
    """Who was compared, and a row for each benchmark and kind of question."""
    for side in ("a", "b"):
        about = compared[side]
        answer(f"{side.upper()}: {about['path']} ({about.get('model', 'unknown model')})")
    for benchmark in compared["benchmarks"]:
        answer("")
        answer(f"{benchmark['title']}: {verdict(benchmark['overall'])}")
        _print_rows([benchmark["overall"], *benchmark["sub_tasks"]])
    for remark in compared["remarks"]:
        answer("")
        answer(f"note: {remark}")


def verdict(row: dict[str, Any], level: float = 0.05) -> str:
    """The difference in a sentence."""
    found = row["difference"]
    points = 100 * found["value"]
    if found["p_value"] >= level:
        return f"no difference to speak of (A {points:+.1f} points, p = {found['p_value']:.2g})"
    better, worse = ("A", "B") if points > 0 else ("B", "A")
    return f"{better} is {abs(points):.1f} points better than {worse} (p = {found['p_value']:.2g})"


def _print_rows(rows: list[dict[str, Any]]) -> None:
    width = max(len(row["name"]) for row in rows)
    columns = f"{'questions':>9} {'A, %':>6} {'B, %':>6} {'A - B':>6} {'95 % interval':>16}"
    answer(f"{'':<{width}} {columns} {'only A':>7} {'only B':>7} {'p':>8}")
    for row in rows:
        found = row["difference"]
        ends = found["interval"]
        between = f"{100 * ends['low']:+.1f} to {100 * ends['high']:+.1f}"
        p_value = found.get("p_value_holm", found["p_value"])
        answer(
            f"{row['name'].replace('_', ' '):<{width}} {row['questions']:>9,} "
            f"{100 * row['a']:>6.1f} {100 * row['b']:>6.1f} {100 * found['value']:>+6.1f} "
            f"{between:>16} {row['only_a_right']:>7,} {row['only_b_right']:>7,} {p_value:>8.2g}"
        )
