"""The folder of a run: `run.json` says how it was made, and refuses to go on with other settings.

OUT/run.json, OUT/<task>/predictions.jsonl, and what the report adds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_json
from ..provenance import command_line, machine, package_commit, versions
from .predictions import PredictionFolder
from .remote_model import RemoteModel
from .runner import Shard
from .task import Task

if TYPE_CHECKING:
    from mobile_videogpt.chat import VideoChat

RUN_FILE = "run.json"


@dataclass(frozen=True)
class RunSettings:
    """What an answer or its score depends on; it may not change within a run.

    Attributes:
        weights: hash of the model's weights, whatever it was called.
        engine, dtype: how it was executed.
        merge_tokens: share of the image tokens kept; None for all.
        scoring, mlvu_era, seed: see `Task`.
        answer_by: None: as each task is published.
        blind: whether each question is asked without its video too.
        remote: how a model behind an address is asked; None for one that runs here.
    """

    weights: str
    engine: str
    dtype: str
    merge_tokens: float | None
    scoring: str
    mlvu_era: str | None
    seed: int
    answer_by: str | None
    blind: bool
    remote: dict[str, Any] | None = None

    @classmethod
    def of(
        cls, model: VideoChat | RemoteModel, merge_tokens: float | None = None, **rest: Any
    ) -> RunSettings:
        """The settings of a run with this model; `rest` is what the model does not know."""
        if isinstance(model, RemoteModel):
            # What it is made of is not known: its name has to do.
            return cls(
                model.name, "endpoint", "unknown", merge_tokens, **rest, remote=model.settings
            )
        engine = type(model.engine).__name__
        weights = model.engine.fingerprint
        return cls(weights, engine, model.dtype, merge_tokens, **rest)


class RunFolder:
    """A run that is begun, or taken up again.

    Args:
        folder: OUT; made if it is not there.
        settings: those of this call.
        notes: what else to keep, such as the model's name; it may change from call to call.

    Raises:
        ValueError: the run there was made with other settings, or is none of ours.
    """

    def __init__(self, folder: Path, settings: RunSettings, notes: dict[str, Any]) -> None:
        self.folder = folder
        self.settings = settings
        self.document = self._begin(notes)

    def add_tasks(self, tasks: Iterable[Task], limit: int | None) -> None:
        """Note that these tasks belong to the run."""
        for task in tasks:
            self.document["tasks"][task.name] = {
                "title": task.title,
                "metric": task.metric,
                "unit": task.unit,
                "published_as": task.published_as,
                "settings": task.settings,
                "limit": limit,
            }
        self._write()

    def predictions(self, task: Task, shard: Shard = (0, 1)) -> PredictionFolder:
        """Where a task's predictions are."""
        return PredictionFolder(self.folder / task.name, shard)

    def _begin(self, notes: dict[str, Any]) -> dict[str, Any]:
        path = self.folder / RUN_FILE
        before = _read(path) if path.exists() else {}
        if before:
            self._refuse_other_settings(before, path)
        elif any(self.folder.glob("*/predictions*.jsonl")):
            raise ValueError(f"{self.folder} holds predictions but no {RUN_FILE}; use an empty one")
        started = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": package_commit(),
            "versions": versions(),
            "machine": machine(),
        }
        return {
            **before,
            **notes,
            **asdict(self.settings),
            "tasks": before.get("tasks", {}),
            "command": command_line(),
            **{name: before.get(name, value) for name, value in started.items()},
        }

    def _refuse_other_settings(self, before: dict[str, Any], path: Path) -> None:
        for name, value in asdict(self.settings).items():
            if before.get(name) != value:
                raise ValueError(
                    f"{path} was made with {name.replace('_', ' ')} {before.get(name)!r}, now it "
                    f"is {value!r}; repeat it as it was begun, or name another --output"
                )

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / RUN_FILE, self.document, indent=1)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        document = None
    if not isinstance(document, dict) or not {"weights", "tasks"} <= document.keys():
        raise ValueError(f"{path} is no {RUN_FILE} of an evaluation; name another --output")
    return document
