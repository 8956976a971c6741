"""What stands in a report, in which order: markdown and the page both lay out these sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from .. import published
from .benchmarks import CLEVRER
from .tables import (
    Table,
    accuracy_table,
    mvbench_table,
    percent,
    percent_interval,
    published_table,
    speed_table,
    sub_task_table,
    unreadable_table,
)

HOW_TO_READ = (
    "Intervals hold the true accuracy in 95 of 100 cases; they come from a bootstrap over videos, "
    "because questions about one video are right or wrong together. Chance guesses among the "
    "options. Majority is the best fixed reply to each kind of question. Blind is the same model "
    "asked about a black clip; what lies over it comes from seeing the video."
)

_HASH_LENGTH = 12


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in this order.

    Attributes:
        text: paragraphs.
        tables: with their captions; a caption may be empty.
        pictures: (what it shows, file name).
        samples: as `describe_sample` made them.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[tuple[str, Table]] = ()
    pictures: Sequence[tuple[str, str]] = ()
    samples: Sequence[dict[str, Any]] = field(default=())


def title_of(report: dict[str, Any]) -> str:
    """The heading of the whole."""
    return f"Evaluation of {model_of(report)}"


def model_of(report: dict[str, Any]) -> str:
    """The model's name as the run was told it."""
    return str(report["run"].get("model", "unknown model"))


def settings_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    """How the answers were asked for and read: what a reader must know before any number."""
    run = report["run"]
    names = {benchmark["name"] for benchmark in report["benchmarks"]}
    limits = {task.get("limit") for task in run.get("tasks", {}).values()} - {None}
    is_ours_only = all(name.startswith("moving-shapes") for name in names)
    values = {
        "weights": str(run.get("weights") or "")[:_HASH_LENGTH],
        "engine": run.get("engine"),
        "numbers": run.get("dtype"),
        "image tokens kept": run.get("merge_tokens"),
        "scoring": None if is_ours_only else run.get("scoring"),
        "MLVU era": run.get("mlvu_era") if any(n.startswith("mlvu") for n in names) else None,
        "answered by": run.get("answer_by"),
        "seed": run.get("seed"),
        "limit": ", ".join(map(str, sorted(limits))),
        **{f"endpoint's {key}": value for key, value in (run.get("remote") or {}).items()},
    }
    return [(label, str(value)) for label, value in values.items() if value not in (None, "")]


def sections(report: dict[str, Any]) -> list[Section]:
    """Everything below the heading."""
    found = []
    table = published_table(report)
    if table is not None:
        pictures = _pictures(report, "radar")
        found.append(Section("Beside the paper", tables=[("", table)], pictures=pictures))
    found += [_benchmark_section(report, benchmark) for benchmark in report["benchmarks"]]
    speed = speed_table(report)
    if speed is not None:
        found.append(Section("Speed", tables=[("", speed)]))
    unreadable = unreadable_table(report)
    if unreadable is not None:
        found.append(Section("Questions without an answer", tables=[("", unreadable)]))
    found.append(Section("How this was measured", tables=[("", _origin_table(report))]))
    return found


def headline(benchmark: dict[str, Any]) -> str:
    """The number of one benchmark, in a sentence."""
    overall = benchmark["overall"]
    if benchmark["server"] is not None:
        said = percent(benchmark["server"])
        return f"{said} % right, says the benchmark's server; {overall['questions']:,} questions."
    if overall["accuracy"] is None:
        return f"Nothing scored; {overall['questions']:,} questions answered."
    return (
        f"{percent(overall['accuracy'])} % right "
        f"(95 % interval {percent_interval(overall['interval'])}), "
        f"mean over {benchmark['averaged_over']}; "
        f"{overall['questions']:,} questions about {overall['videos']:,} videos."
    )


def _benchmark_section(report: dict[str, Any], benchmark: dict[str, Any]) -> Section:
    tables = [("", accuracy_table(benchmark))]
    kinds = sub_task_table(benchmark)
    if kinds is not None:
        tables.append(("By kind of question", kinds))
    paper = mvbench_table(benchmark)
    if paper is not None:
        tables.append(("Beside the paper's Table 2, accuracy in percent", paper))
    return Section(
        benchmark["title"],
        text=[
            headline(benchmark),
            *benchmark["remarks"],
            *_other_measures(benchmark),
            *_in_domain_line(benchmark),
        ],
        tables=tables,
        pictures=[
            *_pictures(report, f"bars-{benchmark['name']}"),
            *_pictures(report, f"radar-{benchmark['name']}"),
        ],
        samples=[s for s in report["samples"] if s["benchmark"] == benchmark["name"]],
    )


def _other_measures(benchmark: dict[str, Any]) -> list[str]:
    """The same answers by the benchmark's own aggregation, and by their words."""
    numbers, words = benchmark["harness"], benchmark["words"]
    found = []
    # Our own benchmark is averaged in one way only; a harness may count otherwise than the table.
    is_ours = benchmark["name"].startswith("moving-shapes")
    if numbers and numbers.get("value") is not None and not is_ours:
        unit = {"percent": " %", "fraction": ""}.get(numbers["unit"], f" {numbers['unit']}")
        figure = f"{numbers['metric']}: {numbers['value']:.4g}{unit}"
        found.append(f"The benchmark's own aggregate, {figure}.")
    if words:
        found.append(
            f"Words compared without a judge: {words['exact_match']:.1f} % exact matches, "
            f"{words['token_overlap']:.1f} % overlap."
        )
    return found


def _in_domain_line(benchmark: dict[str, Any]) -> list[str]:
    """How much of an MVBench average comes from videos like those of the training data."""
    rows = {row["name"]: row for row in benchmark["sub_tasks"]}
    if not set(CLEVRER) < rows.keys() or any(r["accuracy"] is None for r in rows.values()):
        return []
    means = []
    for names in (CLEVRER, tuple(rows.keys() - set(CLEVRER))):
        ours = fmean(rows[name]["accuracy"] for name in names)
        papers = [rows[name]["paper"].get(published.OURS[0]) for name in names]
        if None in papers:
            return []
        means.append(f"{percent(ours)} % (paper's 0.5B model: {percent(fmean(papers))} %)")
    return [
        f"On the {len(CLEVRER)} kinds about CLEVRER, a data set in the paper's training mixture: "
        f"{means[0]}; on the other {len(rows) - len(CLEVRER)}: {means[1]}."
    ]


def _pictures(report: dict[str, Any], stem: str) -> list[tuple[str, str]]:
    return [(p["shows"], p["file"]) for p in report["pictures"] if p["file"] == f"{stem}.png"]


def _origin_table(report: dict[str, Any]) -> Table:
    machine = report["machine"] or {}
    versions = ", ".join(f"{name} {v}" for name, v in (report["versions"] or {}).items())
    cores = f", {machine['cores']} cores" if machine.get("cores") else ""
    rows = (
        ("command", report["command"] or ""),
        ("commit", report["commit"] or "not from a checkout"),
        ("versions", versions),
        ("machine", f"{machine.get('cpu', '')}{cores}"),
        ("date", report["date"]),
    )
    return Table(("", ""), rows, is_words=True)
