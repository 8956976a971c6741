"""The tables of a report, as text cells: markdown and the page lay out the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import published

NOT_RUN = "not run"
NOT_SCORED = "not scored"
NOTHING = "–"
Cells = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table: the first column is text, the others are figures, or text too (`is_words`).

    `strong` are the positions of rows that stand for the whole, or for this run.
    """

    heading: Cells
    rows: Sequence[Cells]
    strong: tuple[int, ...] = ()
    note: str = ""
    is_words: bool = False


def percent(share: float | None) -> str:
    """A share with one decimal, in percent.

    >>> percent(0.5349)
    '53.5'
    """
    return NOTHING if share is None else f"{100 * share:.1f}"


def percent_interval(interval: dict[str, Any] | None) -> str:
    """Its ends in percent; one that Wilson's formula gave is marked.

    >>> percent_interval({"low": 0.5, "high": 0.551, "method": "bootstrap"})
    '50.0 to 55.1'
    """
    if interval is None:
        return NOTHING
    mark = " ʷ" if interval["method"] == "wilson" else ""
    return f"{percent(interval['low'])} to {percent(interval['high'])}{mark}"


def points(difference: dict[str, Any] | None) -> str:
    """A difference in percentage points with its interval.

    >>> points({"value": 0.1, "interval": {"low": -0.02, "high": 0.2, "method": "bootstrap"}})
    '+10.0 (-2.0 to 20.0)'
    """
    if difference is None:
        return NOTHING
    return f"{100 * difference['value']:+.1f} ({percent_interval(difference['interval'])})"


def name_of(text: str) -> str:
    """A machine's name for people.

    >>> name_of("mvbench_action_sequence")
    'action sequence'
    """
    return text.removeprefix("mvbench_").replace("_", " ")


def published_table(report: dict[str, Any]) -> Table | None:
    """The paper's Table 1 with this run on top; None where no benchmark of it was run."""
    measured = by_column(report["benchmarks"])
    if not measured:
        return None
    columns = published.benchmark_columns()
    ours = tuple(_measured_cell(measured.get(column)) for column in columns)
    rows = [(f"this run: {report['run'].get('model', 'unknown')}", *ours, _decode_cell(report))]
    papers = [published.table1(column) for column in columns]
    throughputs = published.throughputs()
    for model in dict.fromkeys(name for shares in papers for name in shares):
        speed = throughputs.get(model)
        cells = (percent(shares.get(model)) for shares in papers)
        rows.append((model, *cells, NOTHING if speed is None else f"{speed:.1f}"))
    note = (
        "Accuracy in percent; the paper's tokens/s are those of one RTX A6000 at batch 1. "
        "* see the remarks on this benchmark before comparing."
    )
    return Table(("Model", *columns, "Tokens/s"), rows, strong=(0,), note=note)


def by_column(benchmarks: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Column of Table 1 -> what was run of it; of EgoSchema's two forms the one with a score."""
    ours = sorted(
        (b for b in benchmarks if b["column"]),
        key=lambda b: (b["server"] is None, b["overall"]["accuracy"] is None),
    )
    return {column: next(b for b in ours if b["column"] == column) for column in _columns(ours)}


def _columns(benchmarks: Sequence[dict[str, Any]]) -> list[str]:
    run = {benchmark["column"] for benchmark in benchmarks}
    return [column for column in published.benchmark_columns() if column in run]


def _measured_cell(benchmark: dict[str, Any] | None) -> str:
    if benchmark is None:
        return NOT_RUN
    accuracy = published_accuracy(benchmark)
    if accuracy is None:
        return NOT_SCORED
    mark = "*" if benchmark["remarks"] else ""
    return f"{percent(accuracy)}{mark}"


def published_accuracy(benchmark: dict[str, Any]) -> float | None:
    """What stands beside the paper's number: what the benchmark's server said, else our score."""
    said, own = benchmark["server"], benchmark["overall"]["accuracy"]
    accuracy: float | None = own if said is None else said
    return accuracy


def _decode_cell(report: dict[str, Any]) -> str:
    speed = report["speed"]
    rate = speed and speed["decode_tok_s"]
    return f"{rate:.1f}" if rate else NOTHING


def accuracy_table(benchmark: dict[str, Any]) -> Table:
    """All questions, then the groups."""
    rows = [benchmark["overall"], *benchmark["groups"]]
    return _accuracy_table("Questions of", rows, strong=(0,))


def sub_task_table(benchmark: dict[str, Any]) -> Table | None:
    """The kinds of questions; None where the benchmark has one kind only."""
    rows = benchmark["sub_tasks"]
    if len(rows) < 2:
        return None
    return _accuracy_table("Kind", rows)


def _accuracy_table(
    first: str, rows: Sequence[dict[str, Any]], strong: tuple[int, ...] = ()
) -> Table:
    """A column for each baseline that any of the rows has."""
    columns: list[tuple[str, str, Callable[[Any], str]]] = [
        ("questions", "Questions", "{:,}".format),
        ("accuracy", "Accuracy, %", percent),
        ("interval", "95 % interval", percent_interval),
    ]
    baselines: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
        ("chance", "Chance", percent),
        ("majority", "Majority", percent),
        ("blind", "Blind", percent),
        ("over_blind", "Over blind", points),
    )
    columns += [c for c in baselines if any(row[c[0]] is not None for row in rows)]
    cells = [(name_of(row["name"]), *(show(row[key]) for key, _, show in columns)) for row in rows]
    heading = (first, *(label for _, label, _ in columns))
    return Table(heading, cells, strong, note=_notes(rows))


def _notes(rows: Sequence[dict[str, Any]]) -> str:
    intervals = [row["interval"] for row in rows if row["interval"]]
    if any(interval["method"] == "wilson" for interval in intervals):
        return "ʷ all answers alike, or of one video: Wilson's interval in place of the bootstrap."
    return ""


def mvbench_table(benchmark: dict[str, Any]) -> Table | None:
    """The paper's Table 2 beside this run; None for other benchmarks."""
    if not any(row["paper"] for row in benchmark["sub_tasks"]):
        return None
    average = published.mvbench_average()
    rows: list[Cells] = []
    for row in benchmark["sub_tasks"]:
        others = (percent(row["paper"].get(name)) for name in average)
        rows.append((name_of(row["name"]), percent(row["accuracy"]), *others))
    whole = (percent(share) for share in average.values())
    rows.append(("average", percent(benchmark["overall"]["accuracy"]), *whole))
    return Table(("Sub-task", "This run", *average), rows, strong=(len(rows) - 1,))


_SPEED_ROWS = (
    ("questions", "questions answered"),
    ("videos", "videos"),
    ("first_question_s", "first question about a video, seconds"),
    ("first_token_s", "of this, up to the first token"),
    ("follow_up_s", "further question about it, seconds"),
    ("tokens_mean", "tokens per answer, mean"),
    ("decode_tok_s", "tokens per second while decoding"),
    ("questions_per_minute", "questions per minute"),
)


def speed_table(report: dict[str, Any]) -> Table | None:
    """Latency and throughput of this run; None where nothing was answered."""
    speed = report["speed"]
    if speed is None:
        return None
    rows = [(label, *_speed_cells(speed[key])) for key, label in _SPEED_ROWS]
    return Table(("", "Median or total", "90th percentile"), rows)


def _speed_cells(value: float | dict[str, float] | None) -> Cells:
    if value is None:
        return NOTHING, NOTHING
    if isinstance(value, dict):
        return _figure(value["median"]), _figure(value["p90"])
    return _figure(value), ""


def _figure(value: float) -> str:
    """Three digits that count, never as a power of ten."""
    return f"{value:,.0f}" if abs(value) >= 100 or isinstance(value, int) else f"{value:.3g}"


def unreadable_table(report: dict[str, Any], most: int = 50) -> Table | None:
    """Videos whose questions got no answer, each once; None for none."""
    found = report["unreadable"]
    if not found:
        return None
    rows = [(each["video"], str(each["questions"]), each["error"]) for each in found[:most]]
    note = f"and {len(found) - most} more, all in report.json" if len(found) > most else ""
    return Table(("Video", "Questions", "Why"), rows, note=note, is_words=True)
