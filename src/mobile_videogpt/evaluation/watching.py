"""How others follow a run: a progress bar on a terminal, nobody in a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .predictions import Prediction
from .task import Task


class Watcher(Protocol):
    """Hears how a run goes on."""

    def begin(self, task: Task, questions: int, answered: Sequence[Prediction]) -> None:
        """A task begins; `answered` was answered by a run before this one."""

    def advance(self, prediction: Prediction) -> None:
        """One question more is answered."""


class Nobody:
    """A watcher that does not look."""

    def begin(self, task: Task, questions: int, answered: Sequence[Prediction]) -> None:
        """Nothing."""

    def advance(self, prediction: Prediction) -> None:
        """Nothing."""
