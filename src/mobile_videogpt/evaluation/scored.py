"""What `aggregate` takes: one scored item in any of the forms that it comes in.

A line of predictions.jsonl, a record as lmms-eval hands it to its own aggregation, a row with the
model's output beside it, or just a score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .task import Task

_NESTED = ("row", "item", "doc")
_PREDICTIONS = ("prediction", "pred_answer", "pred", "pred_id", "parsed")
_SUB_TASKS = ("sub_task", "task_type", "question_type", "type", "area", "family")
_SCORES = ("score", "correct", "exact_match", "accuracy")


@dataclass(frozen=True)
class Scored:
    """One item with its score.

    Attributes:
        score: 0 to 1; None where it is not known.
        prediction: what was read out of the output; None where only a score was given.
        sub_task: the kind of question.
        is_empty: the model wrote nothing.
        is_random: the prediction was drawn.
        fields: the record and, in it, the row.
    """

    score: float | None
    prediction: Any
    sub_task: str | None
    is_empty: bool
    is_random: bool
    fields: Mapping[str, Any]


def as_scored(task: Task, entry: Any) -> Scored:
    """Understand one entry; what is missing in it (prediction, score) is worked out by `task`.

    Raises:
        ValueError: it is none of the known forms.
    """
    if isinstance(entry, Real):
        return Scored(float(entry), None, None, False, False, {})
    if isinstance(entry, (tuple, list)) and len(entry) == 2 and isinstance(entry[0], Mapping):
        row, said = entry
        entry = {"row": row, **({"score": said} if isinstance(said, Real) else {"output": said})}
    if not isinstance(entry, Mapping):
        raise ValueError(
            f"a scored item is a record, a (row, output) pair or a number, not {entry!r:.80}"
        )
    fields = flat(entry)
    prediction, is_random = _prediction(task, fields)
    return Scored(
        score=_score(task, fields, prediction),
        prediction=prediction,
        sub_task=_sub_task(fields),
        is_empty=_is_empty(fields, prediction),
        is_random=is_random,
        fields=fields,
    )


def flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the fields of its row, which give way to the record's own."""
    rows = [entry[name] for name in _NESTED if isinstance(entry.get(name), Mapping)]
    merged: dict[str, Any] = {}
    for row in rows:
        merged.update(row)
    return {**merged, **{k: v for k, v in entry.items() if not (k in _NESTED and v in rows)}}


def _prediction(task: Task, fields: dict[str, Any]) -> tuple[Any, bool]:
    for name in _PREDICTIONS:
        if name in fields:
            return fields[name], bool(fields.get("random"))
    has_score = any(name in fields for name in (*_SCORES, task.metric))
    if isinstance(fields.get("output"), str) and not has_score:
        parsed = task.read(fields, fields["output"])
        return parsed.value, parsed.is_random
    return None, False


def _score(task: Task, fields: dict[str, Any], prediction: Any) -> float | None:
    for name in (*_SCORES, task.metric):
        if name in fields:
            value = fields[name]
            return None if value is None else float(value)
    return task.score(fields, prediction)


def _sub_task(fields: Mapping[str, Any]) -> str | None:
    kind = next((fields[name] for name in _SUB_TASKS if fields.get(name) is not None), None)
    return None if kind is None else str(kind)


def _is_empty(fields: Mapping[str, Any], prediction: Any) -> bool:
    """Whether the model wrote nothing, having seen the video.

    A record without the output has only its prediction.
    """
    said = fields.get("output", prediction)
    return isinstance(said, str) and not said.strip() and fields.get("error") is None
