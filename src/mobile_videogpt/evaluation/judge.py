"""The verdicts of a language model, behind an endpoint, on open answers.

Judging comes after answering, so that it can be repeated with another judge, or go on where it was
stopped, without asking the model again. Without a judge, word_overlap.py is all there is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from .endpoint import Endpoint, EndpointError
from .predictions import Prediction
from .task import Item, JudgedTask, Row

logger = logging.getLogger(__name__)


def judge_predictions(
    task: JudgedTask,
    items: Sequence[Item],
    predictions: Iterable[Prediction],
    endpoint: Endpoint,
    on_verdict: Callable[[Prediction], None] = lambda prediction: None,
) -> list[Prediction]:
    """The predictions with what the judge says of them, in the order they come.

    What this model judged before keeps its verdict. An answer about a video that could not be read
    is wrong without asking. Where no verdict can be had, `judge_error` says why and the score is
    None: judging again tries those again.

    Raises:
        EndpointError: not a single verdict could be had.
    """
    rows = {item.id: item.row for item in items}
    judged = list(predictions)
    waiting = [
        place
        for place, prediction in enumerate(judged)
        if prediction.error is None and not _is_judged(prediction, endpoint.model)
    ]
    bodies = (_request(task, rows[judged[i].id], judged[i], endpoint) for i in waiting)
    replies = endpoint.complete_each(bodies, lambda text: task.read_verdict(text) is not None)
    failures = []
    for number, reply in replies:
        place = waiting[number]
        judged[place] = _with_verdict(task, judged[place], reply, endpoint.model)
        if isinstance(reply, EndpointError):
            failures.append(reply)
            logger.warning("question %s has no verdict: %s", judged[place].id, reply)
        on_verdict(judged[place])
    if failures and len(failures) == len(waiting):
        raise failures[0]
    return judged


def _request(
    task: JudgedTask, row: Row, prediction: Prediction, endpoint: Endpoint
) -> dict[str, Any]:
    return task.judge_request(row, prediction.output, endpoint.model)


def _is_judged(prediction: Prediction, model: str) -> bool:
    return prediction.judge == model and prediction.verdict is not None


def _with_verdict(
    task: JudgedTask, prediction: Prediction, reply: str | EndpointError, model: str
) -> Prediction:
    verdict = None if isinstance(reply, EndpointError) else task.read_verdict(reply)
    if verdict is None:
        return replace(prediction, score=None, judge=model, verdict=None, judge_error=str(reply))
    score = task.verdict_score(verdict)
    return replace(prediction, score=score, judge=model, verdict=verdict, judge_error=None)
