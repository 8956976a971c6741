"""How a run goes on: a bar with the accuracy so far on a terminal, a line a task elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mobile_videogpt.cli.output import say

if TYPE_CHECKING:
    from mobile_videogpt.evaluation.predictions import Prediction
    from mobile_videogpt.evaluation.task import Task


class RunProgress:
    """Shows the answers of one task after another; use it as a context."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._row: Any = None
        self._name = ""
        self._questions = self._answered = self._failed = 0
        self._scores: list[float] = []
        self._start = 0.0

    def __enter__(self) -> RunProgress:
        # Of the processes of a launcher one is enough.
        if sys.stderr.isatty() and os.environ.get("LOCAL_RANK", "0") == "0":
            self._bar = _bar()
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, task: Task, questions: int, answered: Sequence[Prediction]) -> None:
        """A task begins, part of it answered by an earlier run."""
        self._begin(task.name, questions, answered)
        if answered and len(answered) < questions:
            say(f"{task.name}: {len(answered)} of {questions} questions are answered already")

    def begin_judging(self, task: Task, judge: str, questions: int) -> None:
        """A judge begins to speak about a task's answers."""
        self._begin(f"{task.name} judged by {judge}", questions, ())

    def _begin(self, name: str, questions: int, answered: Sequence[Prediction]) -> None:
        self._name, self._questions = name, questions
        self._answered, self._failed, self._scores = 0, 0, []
        for prediction in answered:
            self._count(prediction)
        self._start = time.perf_counter()
        if self._bar is not None:
            if self._row is not None:
                self._bar.remove_task(self._row)
            self._row = self._bar.add_task(
                self._name, total=questions, completed=len(answered), accuracy=self.accuracy
            )

    def advance(self, prediction: Prediction) -> None:
        """One question more is answered."""
        self._count(prediction)
        if self._bar is not None:
            self._bar.update(self._row, advance=1, accuracy=self.accuracy)

    def end(self) -> None:
        """The task's questions are answered: say so."""
        minutes = (time.perf_counter() - self._start) / 60
        failed = f", {self._failed} without an answer" if self._failed else ""
        say(
            f"{self._name}: {self._answered} questions, {self.accuracy or 'nothing to score yet'}"
            f"{failed}, {minutes:.1f} minutes"
        )

    @property
    def accuracy(self) -> str:
        """The share right so far, as text; empty where nothing is scored."""
        if not self._scores:
            return ""
        return f"{100 * sum(self._scores) / len(self._scores):.1f} % right"

    def _count(self, prediction: Prediction) -> None:
        self._answered += 1
        self._failed += prediction.error is not None
        if prediction.score is not None:
            self._scores.append(prediction.score)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[accuracy]}"),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )
