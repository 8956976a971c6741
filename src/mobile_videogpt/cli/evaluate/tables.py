"""The report on a terminal: one line a benchmark, the built-in one's families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mobile_videogpt.cli.output import answer

_COLUMNS = ("accuracy", "interval", "chance", "majority", "blind")


def print_report(report: dict[str, Any]) -> None:
    """Accuracy of each benchmark beside its baselines."""
    rows = [("", "questions", "accuracy", "95 % interval", *_COLUMNS[2:])]
    for benchmark in report["benchmarks"]:
        overall = benchmark["overall"]
        cells = [_cell(overall[column]) for column in _COLUMNS]
        rows.append((benchmark["title"], str(overall["questions"]), *cells))
    print_rows(rows)
    for benchmark in report["benchmarks"]:
        for remark in benchmark["remarks"]:
            answer(f"{benchmark['title']}: {remark}")


def print_families(report: dict[str, Any]) -> None:
    """The recorded report on MovingShapes, family by family."""
    columns = ("multiple_choice", "open", "chance", "majority", "blind")
    rows = [("family", *(column.replace("_", " ") for column in columns), "questions")]
    for name, row in report["families"].items():
        rows.append((name, *(_cell(row.get(column)) for column in columns), str(row["n"])))
    print_rows(rows)
    answer(
        f"multiple choice {_cell(report['multiple_choice_accuracy'])} (mean over families), "
        f"open answers {_cell(report['open_accuracy'])}, "
        f"{report['questions']} questions, seed {report['seed']}"
    )


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell: the first to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for first, *cells in rows:
        numbers = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        answer("  ".join([f"{first:<{widths[0]}}", *numbers]))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):  # an interval
        return f"{100 * value['low']:.1f} to {100 * value['high']:.1f}"
    return f"{100 * value:.1f} %"
