"""The built-in model's report on MovingShapes: accuracies per family beside three baselines.

Each question is asked twice: open (the greedy answer must equal the true one) and as multiple
choice (the letter whose option is the likeliest answer to the question shown with its lettered
options; the model is not asked to write the letter). The blind baseline asks the same questions
about a black clip. The questions are those of tasks/moving_shapes.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..chat import VideoChat
from ..synthetic.questions import FAMILIES, Question
from .asking import AnswerBy
from .predictions import Prediction
from .runner import answer_items
from .task import TASK_GROUPS, Scoring, get_task
from .tasks.moving_shapes import DEFAULT_QUESTIONS, EXTRAS, draw_questions
from .watching import Nobody, Watcher

TASKS = TASK_GROUPS["moving-shapes"]

_LIKELIEST = "letter of the likeliest option"

# What a question was answered with, by task and id.
Predictions = Mapping[str, Mapping[str, Prediction]]


@dataclass(frozen=True)
class Asking:
    """How the questions are put; as published unless said otherwise."""

    answer_by: AnswerBy | None = None
    is_blind: bool = True
    scoring: Scoring = "lmms-eval"


@dataclass
class Result:
    """What became of one question."""

    question: Question
    open_answer: str
    letter: str | None
    blind_letter: str | None
    is_file: bool


def evaluate(
    model: str = "moving-shapes",
    seed: int = 0,
    limit: int | None = None,
    asking: Asking | None = None,
    watcher: Watcher | None = None,
    **loading: Any,
) -> dict[str, Any]:
    """Run the benchmark on the unseen clips of `seed`; `limit` is the number of questions.

    `loading` goes to `VideoChat` (device, dtype, engine, merge_tokens). Returns plain data: shares
    are 0 to 1, the two accuracies are means over the families.
    """
    chat = VideoChat(model, **loading)
    results = run_questions(chat, seed, limit or DEFAULT_QUESTIONS, asking, watcher)
    by = (asking or Asking()).answer_by
    return with_settings(report(results, by), model, seed, loading.get("merge_tokens"))


def with_settings(
    report: dict[str, Any], model: str, seed: int, merge_tokens: float | None = None
) -> dict[str, Any]:
    """A report, and what it was made with."""
    merged = {} if merge_tokens is None else {"merge_tokens": merge_tokens}
    return {"model": model, "seed": seed, **merged, **report}


def run_questions(
    chat: VideoChat,
    seed: int,
    limit: int,
    asking: Asking | None = None,
    watcher: Watcher | None = None,
) -> list[Result]:
    """Ask `limit` questions in all their forms; `watcher` hears of each answer as it comes."""
    asking, watcher = asking or Asking(), watcher or Nobody()
    predictions: dict[str, dict[str, Prediction]] = {}
    for name in TASKS:
        task = get_task(name, seed=seed, scoring=asking.scoring)
        items = task.first_items("", limit)
        watcher.begin(task, len(items), [])
        found = predictions[name] = {}
        for prediction in answer_items(
            chat, task, items, answer_by=asking.answer_by, is_blind=asking.is_blind
        ):
            found[prediction.id] = prediction
            watcher.advance(prediction)
    return results_of(seed, limit, predictions)


def results_of(seed: int, limit: int, predictions: Predictions) -> list[Result]:
    """The predictions of the three tasks, question by question."""
    choices, opens, extras = (predictions[name] for name in TASKS)
    results = []
    for drawn in draw_questions(seed, limit):
        is_extra = drawn.question.family in EXTRAS
        said = (extras if is_extra else opens)[drawn.id].output
        choice = choices.get(drawn.id)
        letter = choice.prediction if choice else None
        blind = choice.blind.prediction if choice and choice.blind else None
        results.append(Result(drawn.question, said, letter, blind, drawn.clip.is_file))
    return results


def report(results: list[Result], answer_by: str | None = None) -> dict[str, Any]:
    """Accuracies per family and their means."""
    choice = "letter that was written" if answer_by == "generation" else _LIKELIEST
    by_family: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_family[result.question.family].append(result)
    families = {f: _family_row(by_family[f]) for f in FAMILIES if by_family[f]}
    files = [r for r in results if r.is_file and r.letter and r.question.family in families]
    return {
        "multiple_choice_accuracy": _mean(row["multiple_choice"] for row in families.values()),
        "open_accuracy": _mean(row["open"] for row in families.values()),
        "questions": sum(row["n"] for row in families.values()),
        "questions_from_files": len(files),
        "multiple_choice_from_files": _mean(r.letter == r.question.letter for r in files),
        "scoring": f"multiple choice: {choice}; open: exact match",
        "families": families,
        "extras": {f: _extra_row(by_family[f]) for f in EXTRAS if by_family[f]},
    }


def _family_row(results: list[Result]) -> dict[str, Any]:
    blind = [r for r in results if r.blind_letter is not None]
    answers = Counter(r.question.answer for r in results)
    return {
        "multiple_choice": _mean(r.letter == r.question.letter for r in results),
        "open": _mean(_is_exact(r) for r in results),
        "chance": _mean(1 / len(r.question.options) for r in results),
        "majority": answers.most_common(1)[0][1] / len(results),
        "blind": _mean(r.blind_letter == r.question.letter for r in blind) if blind else None,
        "n": len(results),
    }


def _extra_row(results: list[Result]) -> dict[str, float | int]:
    return {"open": _mean(_is_exact(r) for r in results), "n": len(results)}


def _is_exact(result: Result) -> bool:
    return result.open_answer.strip().casefold() == result.question.answer.casefold()


def _mean(values: Iterable[float]) -> float:
    numbers = [float(value) for value in values]
    return sum(numbers) / len(numbers) if numbers else 0.0
