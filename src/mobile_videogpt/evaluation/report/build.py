"""From a run folder to one document: every figure that the report shows is in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from ..predictions import Prediction
from ..run import SERVER_FILE
from ..task import TASK_NAMES, JudgedTask, get_task
from ..word_overlap import word_scores
from .accuracy import describe_benchmark
from .benchmarks import Benchmark, benchmarks_of
from .remarks import remarks_on
from .results import Run, blind_score
from .speed import describe_speed

logger = logging.getLogger(__name__)

FORMAT = 1
ORIGIN = ("command", "commit", "versions", "machine")
ANSWER_COLUMNS = ("id", "video", "sub_task", "score", "blind")


def build_report(run: Run) -> dict[str, Any]:
    """The figures of a run, as plain data; shares are 0 to 1.

    `answers` holds each question's score, so that a report alone can be compared with another.
    """
    everything = [result for rows in run.results.values() for result in rows]
    return {
        "format": FORMAT,
        **{key: run.settings.get(key) for key in ORIGIN},
        "date": datetime.now(UTC).date().isoformat(),
        "run": {k: v for k, v in run.settings.items() if k not in ORIGIN},
        "benchmarks": [_benchmark(b, run) for b in benchmarks_of(run.results)],
        "speed": describe_speed(everything),
        "unreadable": unreadable_videos(everything),
        "samples": [],
        "pictures": [],
        "answers": build_answers(run),
    }


def build_answers(run: Run) -> dict[str, list[list[Any]]]:
    """Each question's ANSWER_COLUMNS, by task."""
    return {task: [_answer(r) for r in rows] for task, rows in run.results.items()}


def report_text(report: Mapping[str, Any]) -> str:
    """The document as JSON, one answer a line."""
    head = {k: v for k, v in report.items() if k != "answers"}
    text = json.dumps(head, ensure_ascii=False, indent=1, allow_nan=False)
    tasks = (
        f"  {json.dumps(task)}: [\n   "
        + ",\n   ".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
        + "\n  ]"
        for task, rows in report["answers"].items()
    )
    return f'{text[:-2]},\n "answers": {{\n' + ",\n".join(tasks) + "\n }\n}\n"


def unreadable_videos(results: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Videos without an answer: each once, with the number of questions about it."""
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        if result.error is not None:
            entry = {"video": result.video, "questions": 0, "error": result.error}
            found.setdefault(result.video, entry)["questions"] += 1
    return list(found.values())


def _benchmark(benchmark: Benchmark, run: Run) -> dict[str, Any]:
    results = [result for task in benchmark.tasks for result in run.results[task]]
    return {
        **describe_benchmark(benchmark, results),
        "settings": run.task_settings(benchmark.tasks[0]),
        "remarks": remarks_on(benchmark, results, run),
        "harness": _harness_numbers(benchmark, results, run),
        "words": word_scores(results) if _is_judged(benchmark) else None,
        "server": _server_accuracy(benchmark, run),
    }


def _server_accuracy(benchmark: Benchmark, run: Run) -> float | None:
    """What the benchmark's own server said of secret answers; None where it was not asked."""
    path = run.folder / benchmark.tasks[0] / SERVER_FILE
    if not path.is_file():
        return None
    return float(json.loads(path.read_text(encoding="utf-8"))["accuracy_percent"]) / 100


def _is_judged(benchmark: Benchmark) -> bool:
    """Whether only a judge can score the answers; elsewhere their words are no measure."""
    known = set(benchmark.tasks) <= set(TASK_NAMES)
    return known and isinstance(get_task(benchmark.tasks[0]), JudgedTask)


def _harness_numbers(
    benchmark: Benchmark, results: Sequence[Prediction], run: Run
) -> dict[str, Any] | None:
    """The benchmark's own aggregate, in its own unit; None for a task without one."""
    if not set(benchmark.tasks) <= set(TASK_NAMES):
        return None
    try:
        task = get_task(benchmark.name, **run.task_settings(benchmark.tasks[0]))
        return task.aggregate([asdict(result) for result in results])
    except (ValueError, KeyError, ZeroDivisionError) as error:
        # The report of a part of the questions must not fail because the harness would.
        logger.warning("no aggregate of %s: %s", benchmark.title, error)
        return None


def _answer(result: Prediction) -> list[Any]:
    return [result.id, result.video, result.sub_task, result.score, blind_score(result)]
