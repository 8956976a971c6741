"""Is run A better than run B? Both on the same questions, with the paired bootstrap.

Two accuracies with overlapping intervals can still differ for certain: the intervals say how other
questions would turn out, the pair says how the two runs fare on the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .report.benchmarks import Benchmark, benchmarks_of
from .report.build import ANSWER_COLUMNS, build_answers
from .report.results import read_run
from .run_folder import RUN_FILE
from .statistics import FEW_VIDEOS, Tally, difference, holm

REPORT_FILE = "report.json"
# What decides how answers are asked for and read: runs that differ in it differ for two reasons.
JUDGING = (
    *("scoring", "mlvu_era", "answer_by", "seed"),
    *("engine", "dtype", "merge_tokens", "remote"),
)


@dataclass(frozen=True)
class Answered:
    """One question of a run."""

    id: str
    video: str
    sub_task: str | None
    score: float | None


@dataclass(frozen=True)
class Answers:
    """The scores of one run, by task and question."""

    name: str
    run: Mapping[str, Any]
    tasks: Mapping[str, Mapping[str, Answered]]


@dataclass(frozen=True)
class Pair:
    """One question in both runs."""

    first: Answered
    second: Answered

    @property
    def scores(self) -> tuple[float, float]:
        """Of A and of B; only pairs that both scored are made."""
        return self.first.score or 0.0, self.second.score or 0.0


def read_answers(path: Path) -> Answers:
    """The scores in a run folder, or in a report.json alone.

    Raises:
        ValueError: it is neither, or nothing is answered in it.
    """
    if path.is_dir() and (path / RUN_FILE).is_file():
        run = read_run(path)
        settings, tables = dict(run.settings), build_answers(run)
    else:
        settings, tables = _read_report(path / REPORT_FILE if path.is_dir() else path)
    columns = [ANSWER_COLUMNS.index(name) for name in ("id", "video", "sub_task", "score")]
    tasks = {
        task: {row[0]: Answered(*(row[i] for i in columns)) for row in rows}
        for task, rows in tables.items()
    }
    return Answers(str(path), settings, tasks)


def compare(first: Answers, second: Answers) -> dict[str, Any]:
    """The differences, benchmark by benchmark; shares are 0 to 1, positive where A is better.

    Raises:
        ValueError: the runs have no scored question in common.
    """
    shared = [task for task in first.tasks if task in second.tasks]
    compared = []
    for benchmark in benchmarks_of(shared):
        pairs = _pairs(first, second, benchmark.tasks)
        if pairs:
            row = _benchmark_row(benchmark, pairs)
            compared.append({**row, "left_out": _left_out(first, second, benchmark, len(pairs))})
    if not compared:
        raise ValueError(
            f"{first.name} and {second.name} have no scored question in common: they ran "
            f"{', '.join(first.tasks)} and {', '.join(second.tasks)}"
        )
    return {
        "a": _describe(first),
        "b": _describe(second),
        "remarks": _remarks(first, second, compared),
        "benchmarks": compared,
    }


def _benchmark_row(benchmark: Benchmark, pairs: Sequence[Pair]) -> dict[str, Any]:
    kinds: dict[str, list[Pair]] = {}
    for pair in pairs:
        if pair.first.sub_task is not None:
            kinds.setdefault(pair.first.sub_task, []).append(pair)
    rows = [_row(name, own, by_kind=False) for name, own in kinds.items()] if len(kinds) > 1 else []
    adjusted = holm([row["difference"]["p_value"] for row in rows])
    for row, p_value in zip(rows, adjusted, strict=True):
        row["difference"]["p_value_holm"] = p_value
    return {
        "name": benchmark.name,
        "title": benchmark.title,
        "overall": _row("all", pairs, by_kind=benchmark.is_mean_of_kinds),
        "sub_tasks": rows,
    }


def _row(name: str, pairs: Sequence[Pair], *, by_kind: bool) -> dict[str, Any]:
    videos = [pair.first.video for pair in pairs]
    kinds = [pair.first.sub_task for pair in pairs] if by_kind else None
    scores = [pair.scores for pair in pairs]
    tallies = [Tally([pair[side] for pair in scores], videos, kinds) for side in (0, 1)]
    return {
        "name": name,
        "questions": len(pairs),
        "videos": len(set(videos)),
        "a": tallies[0].mean(),
        "b": tallies[1].mean(),
        "only_a_right": sum(a == 1 and b < 1 for a, b in scores),
        "only_b_right": sum(b == 1 and a < 1 for a, b in scores),
        "difference": difference(*tallies).as_json(),
    }


def _pairs(first: Answers, second: Answers, tasks: Sequence[str]) -> list[Pair]:
    """Questions that both runs have a score for, in the order of A."""
    return [
        Pair(answered, second.tasks[task][identifier])
        for task in tasks
        for identifier, answered in first.tasks[task].items()
        if identifier in second.tasks[task]
        and answered.score is not None
        and second.tasks[task][identifier].score is not None
    ]


def _left_out(first: Answers, second: Answers, benchmark: Benchmark, paired: int) -> dict[str, int]:
    """Questions of each run that could not be paired."""
    return {
        side: sum(len(answers.tasks[task]) for task in benchmark.tasks) - paired
        for side, answers in (("a", first), ("b", second))
    }


def _remarks(first: Answers, second: Answers, compared: Sequence[dict[str, Any]]) -> list[str]:
    found = [
        f"the runs differ in {key} too: {first.run.get(key)} and {second.run.get(key)}"
        for key in JUDGING
        if first.run.get(key) != second.run.get(key)
    ]
    for row in compared:
        left_out = max(row["left_out"].values())
        if left_out:
            found.append(
                f"{row['title']}: {row['left_out']['a']} questions of A and "
                f"{row['left_out']['b']} of B left out, without a score in the other run or at all"
            )
        if row["overall"]["videos"] < FEW_VIDEOS:
            found.append(
                f"{row['title']}: only {row['overall']['videos']} videos, the test is too sure"
            )
    only = set(first.tasks) ^ set(second.tasks)
    if only:
        found.append(f"in one run only: {', '.join(sorted(only))}")
    return found


def _describe(answers: Answers) -> dict[str, Any]:
    known = {key: answers.run[key] for key in ("model", *JUDGING) if key in answers.run}
    return {"path": answers.name, **known}


def _read_report(path: Path) -> tuple[dict[str, Any], dict[str, list[list[Any]]]]:
    advice = "give a run's folder, or the report.json in it"
    if not path.is_file():
        raise ValueError(f"{path.parent if path.name == REPORT_FILE else path} is no run; {advice}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return document["run"], document["answers"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is no report of `mobile-videogpt eval`; {advice}") from None
