"""Why a number is not quite what it stands beside: said at the number itself."""

from __future__ import annotations

from collections.abc import Sequence

from ..predictions import Prediction
from ..statistics import FEW_VIDEOS
from .benchmarks import Benchmark
from .results import Run

_STRICT = (
    "Scored strictly: answers are read with care and none is drawn; the paper's numbers come from "
    "lmms-eval, whose reading has flaws."
)
_LIKELIHOOD = "The likeliest option counts as the answer; the paper's models wrote a letter."
_ERA = (
    "Answers read as lmms-eval did in its era {era!r}; which of the three the paper's numbers come "
    "from is not recorded."
)


def remarks_on(benchmark: Benchmark, results: Sequence[Prediction], run: Run) -> list[str]:
    """Sentences about one benchmark of a run; empty when there is nothing to say."""
    asked = benchmark.questions
    settings = run.task_settings(benchmark.tasks[0])
    era = settings.get("mlvu_era")
    found = []
    if asked and len(results) < asked:
        found.append(f"{len(results):,} of {asked:,} questions: not the published number.")
    missing = sorted(set(benchmark.kinds) - {r.sub_task for r in results})
    if missing:
        found.append(f"Without {', '.join(missing)}, which belong to the published number.")
    if benchmark.note:
        found.append(benchmark.note)
    if benchmark.column and settings.get("scoring") == "strict":
        found.append(_STRICT)
    if benchmark.column and any(r.answer_by == "likelihood" for r in results):
        found.append(_LIKELIHOOD)
    if era:
        found.append(_ERA.format(era=era))
    return [*found, *_judge_remarks(benchmark, results), *_counts(results)]


def _judge_remarks(benchmark: Benchmark, results: Sequence[Prediction]) -> list[str]:
    """Who judged open answers, and how often nobody could."""
    if not benchmark.column or any(r.options for r in results):
        return []
    judges = sorted({r.judge for r in results if r.judge})
    if not judges:
        return ["No judge was asked: words are compared, which no published number can stand by."]
    found = [
        f"Judged by {' and '.join(judges)}; the paper's answers were judged by GPT-3.5-Turbo, and "
        "another judge shifts the number."
    ]
    failed = sum(r.score is None and r.error is None for r in results)
    return [*found, f"{failed:,} answers have no verdict."] if failed else found


def _counts(results: Sequence[Prediction]) -> list[str]:
    """What happened to single questions."""
    unreadable = sum(r.error is not None for r in results)
    drawn = sum(r.random for r in results)
    empty = sum(not r.output.strip() and r.error is None for r in results)
    secret = sum(r.answer is None for r in results)
    videos = len({r.video for r in results if r.score is not None})
    found = []
    if unreadable:
        found.append(f"{unreadable:,} questions got no answer (see below) and count as wrong.")
    if drawn:
        found.append(f"{drawn:,} answers could not be read and were drawn, as the harness does.")
    if empty:
        found.append(f"{empty:,} answers are empty.")
    if secret:
        found.append(f"{secret:,} answers are kept secret by the benchmark: nothing to score here.")
    if 0 < videos < FEW_VIDEOS:
        found.append(f"Only {videos} videos: the intervals are too narrow.")
    return found
