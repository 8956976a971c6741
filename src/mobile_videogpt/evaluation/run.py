"""A task of a run, from its first question to its last file; every step may be repeated.

Any number of processes `answer`; each then tries to `merge`, and the one that ends last succeeds.
Only a merged task is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_json
from .asking import AnswerBy
from .endpoint import Endpoint
from .judge import judge_predictions
from .predictions import Prediction
from .remote_model import RemoteModel, answer_items_remotely
from .run_folder import RunFolder
from .runner import Shard, answer_items, take_shard
from .task import Item, JudgedTask, Task
from .watching import Nobody, Watcher

if TYPE_CHECKING:
    from mobile_videogpt.chat import VideoChat


@dataclass(frozen=True)
class Plan:
    """Which questions this process asks, and how.

    Attributes:
        data_dir: where the benchmarks lie.
        limit: at most so many questions of each task.
        shard: this process among those that share the videos, counted from 0.
        answer_by: None: as each task is published.
        is_blind: ask without the video too.
        retry_errors: ask those again that had no answer.
    """

    data_dir: Path
    limit: int | None = None
    shard: Shard = (0, 1)
    answer_by: AnswerBy | None = None
    is_blind: bool = True
    retry_errors: bool = False


SERVER_FILE = "server.json"
OnVerdict = Callable[[Prediction], None]


def _ignore(prediction: Prediction) -> None:
    """Nobody listens."""


class TaskRun:
    """One task of a run: its questions, and where their answers are.

    Raises:
        MissingDataError, AnnotationError: see `Task.items`.
    """

    def __init__(self, task: Task, run: RunFolder, plan: Plan) -> None:
        self.task = task
        self.plan = plan
        self.folder = run.folder / task.name
        self.items = task.first_items(plan.data_dir, plan.limit)
        self._predictions = run.predictions(task, plan.shard)

    def answer(self, model: VideoChat | RemoteModel, watcher: Watcher | None = None) -> None:
        """Ask what this process still has to ask; every answer is written as it comes."""
        watcher = watcher or Nobody()
        if self.plan.retry_errors:
            failed = [p.id for p in self._predictions.read().values() if p.error is not None]
            self._predictions.forget(failed)
        found = self._predictions.read()
        mine = take_shard(self.items, self.plan.shard)
        watcher.begin(self.task, len(mine), [found[item.id] for item in mine if item.id in found])
        waiting = [item for item in mine if item.id not in found]
        for prediction in self._ask(model, waiting):
            self._predictions.append(prediction)
            watcher.advance(prediction)

    def _ask(self, model: VideoChat | RemoteModel, items: list[Item]) -> Iterator[Prediction]:
        is_blind = self.plan.is_blind
        if isinstance(model, RemoteModel):
            return answer_items_remotely(model, self.task, items, is_blind=is_blind)
        by = self.plan.answer_by
        return answer_items(model, self.task, items, answer_by=by, is_blind=is_blind)

    def merge(self) -> bool:
        """Put the answers of all processes together; whether all are there."""
        return self._predictions.merge([item.id for item in self.items])

    @property
    def num_answered(self) -> int:
        """Questions of this task that anybody answered."""
        found = self._predictions.read()
        return sum(item.id in found for item in self.items)

    def predictions(self) -> list[Prediction]:
        """The answers of a complete task, in the order of its questions."""
        found = self._predictions.read()
        return [found[item.id] for item in self.items]

    def num_unjudged(self, model: str | None = None) -> int:
        """Open answers of a complete task on which this judge, or any if None, has not spoken."""
        return sum(
            p.error is None and (p.verdict is None or model not in (None, p.judge))
            for p in self.predictions()
        )

    def judge(self, endpoint: Endpoint, on_verdict: OnVerdict = _ignore) -> int:
        """Let a judge speak about the open answers of a complete task.

        Returns how many have no verdict.

        Raises:
            EndpointError: there was not a single verdict.
        """
        assert isinstance(self.task, JudgedTask)
        before = self.predictions()
        after = judge_predictions(self.task, self.items, before, endpoint, on_verdict)
        found = self._predictions.read() | {p.id: p for p in after}
        self._predictions.write(found, [item.id for item in self.items])
        return sum(p.judge_error is not None for p in after)

    def write_files(self) -> list[Path]:
        """Write what else the benchmark asks for, such as a submission; the paths written."""
        return self.task.write_files(self.folder, scored_items(self.items, self.predictions()))

    def submit(self) -> float | None:
        """Have the benchmark's server score the answers; percent, None where there is no server.

        What it said is kept in `server.json`.

        Raises:
            SubmissionError: the server gave no score.
        """
        accuracy = self.task.submit(scored_items(self.items, self.predictions()))
        if accuracy is not None:
            write_json(self.folder / SERVER_FILE, {"accuracy_percent": accuracy, "by": "server"})
        return accuracy


def scored_items(
    items: Sequence[Item], predictions: Sequence[Prediction]
) -> list[dict[str, object]]:
    """What `Task.aggregate` takes: each prediction beside the row that it belongs to."""
    return [
        {**asdict(prediction), "row": item.row}
        for item, prediction in zip(items, predictions, strict=True)
    ]
