"""Accuracy of a benchmark, its groups and kinds of questions, beside what needs no model.

Three baselines stand beside every share: chance, the majority class, and the blind run, in which
the model was asked without the video. What is not far above them was not learned from the video.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import published
from ..predictions import Prediction
from ..statistics import RESAMPLES, Tally, difference, interval
from .benchmarks import Benchmark
from .results import answer_text, blind_score

ALL = "all"


def describe_benchmark(benchmark: Benchmark, results: Sequence[Prediction]) -> dict[str, Any]:
    """The rows of one benchmark: `overall`, `groups` and `sub_tasks`, and the paper's numbers."""
    sub_tasks = _grouped(results, lambda r: r.sub_task)
    groups = _grouped(results, lambda r: r.group)
    by_kind = benchmark.is_mean_of_kinds
    return {
        "name": benchmark.name,
        "title": benchmark.title,
        "tasks": list(benchmark.tasks),
        "averaged_over": "kinds of questions" if by_kind else "questions",
        "overall": accuracy_row(ALL, results, by_kind=by_kind),
        "groups": [accuracy_row(name, rows, by_kind=by_kind) for name, rows in groups.items()],
        "sub_tasks": [_sub_task_row(name, rows) for name, rows in sub_tasks.items()],
        "column": benchmark.column,
        "paper": published.table1(benchmark.column) if benchmark.column else {},
    }


def accuracy_row(
    name: str, results: Sequence[Prediction], *, by_kind: bool = False
) -> dict[str, Any]:
    """Accuracy with its interval, and the baselines, of some questions.

    With `by_kind` everything is averaged within each kind of question first. `accuracy` is None
    where no answer could be scored; `over_blind` is the paired difference to the blind run.
    """
    counted = [r for r in results if r.score is not None]
    tally = tally_of(counted, by_kind=by_kind)
    both = [r for r in counted if blind_score(r) is not None]
    blind = tally_of(both, by_kind=by_kind, score=blind_score)
    return {
        "name": name,
        "questions": len(results),
        "scored": len(counted),
        "videos": len({r.video for r in results}),
        "accuracy": None if tally is None else tally.mean(),
        "interval": None if tally is None else interval(tally).as_json(),
        "chance": _over_kinds(results, chance, by_kind),
        "majority": _over_kinds(results, majority, by_kind),
        "blind": None if blind is None else blind.mean(),
        "over_blind": _over_blind(both, blind, by_kind),
    }


def tally_of(
    results: Sequence[Prediction],
    *,
    by_kind: bool,
    score: Callable[[Prediction], float | None] = lambda r: r.score,
    among: Sequence[str] | None = None,
) -> Tally | None:
    """The scores as `statistics` takes them; None for none."""
    if not results:
        return None
    scores = [score(r) or 0.0 for r in results]
    kinds = [r.sub_task for r in results] if by_kind else None
    return Tally(scores, [r.video for r in results], kinds, among)


def chance(results: Sequence[Prediction]) -> float | None:
    """The share right by guessing among the options; None for open questions."""
    shares = [1 / len(r.options) for r in results if r.options]
    return sum(shares) / len(shares) if shares else None


def majority(results: Sequence[Prediction]) -> float | None:
    """The share right by one fixed reply: the commonest right letter, or the commonest right text.

    Whichever of the two is right more often, as this very set of questions tells: an upper bound
    for a reply that knows the kind of question and nothing else.
    """
    letters = Counter(r.answer for r in results if r.options and r.answer is not None)
    texts = Counter(_plain(answer_text(r)) for r in results if answer_text(r) is not None)
    known = sum(r.answer is not None for r in results)
    best = max([*letters.values(), *texts.values()], default=0)
    return best / known if known else None


def _sub_task_row(name: str, results: Sequence[Prediction]) -> dict[str, Any]:
    row = accuracy_row(name, results)
    return {**row, "group": results[0].group, "paper": published.mvbench(results[0].task)}


def _over_blind(
    results: Sequence[Prediction], blind: Tally | None, by_kind: bool
) -> dict[str, Any] | None:
    tally = tally_of(results, by_kind=by_kind)
    if tally is None or blind is None:
        return None
    # The interval is what is shown: it needs fewer draws than a p value does.
    return difference(tally, blind, resamples=RESAMPLES).as_json()


def _over_kinds(
    results: Sequence[Prediction],
    share: Callable[[Sequence[Prediction]], float | None],
    by_kind: bool,
) -> float | None:
    """A baseline of all questions, or its mean over the kinds."""
    if not by_kind:
        return share(results)
    shares = [share(rows) for rows in _grouped(results, lambda r: r.sub_task or ALL).values()]
    known = [value for value in shares if value is not None]
    return sum(known) / len(known) if known else None


def _grouped(
    results: Iterable[Prediction], key: Callable[[Prediction], str | None]
) -> dict[str, list[Prediction]]:
    """Results by key, in order of first appearance; those without one are left out."""
    found: dict[str, list[Prediction]] = {}
    for result in results:
        name = key(result)
        if name is not None:
            found.setdefault(name, []).append(result)
    return found


def _plain(text: str | None) -> str:
    return (text or "").strip().rstrip(".").casefold()
