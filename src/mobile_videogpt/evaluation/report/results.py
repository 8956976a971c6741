"""A run folder as the report sees it: its settings, and the predictions of each task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from ..predictions import Prediction, read_predictions
from ..run_folder import RUN_FILE


@dataclass(frozen=True)
class Run:
    """One run: where it lies, how it was made (`run.json`), what came out, by task."""

    folder: Path
    settings: Mapping[str, Any]
    results: Mapping[str, Sequence[Prediction]]

    def task_settings(self, task: str) -> dict[str, Any]:
        """What changes a score of this task, as `get_task` takes it."""
        return dict(self.settings.get("tasks", {}).get(task, {}).get("settings", {}))


def read_run(folder: Path) -> Run:
    """Read what is answered so far.

    Raises:
        ValueError: there is no such run, nothing is answered in it, or a file is damaged.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        raise ValueError(
            f"{folder} is no run: it has no {RUN_FILE}; give a folder that `mobile-videogpt eval` "
            "wrote"
        )
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path} is damaged; start the run anew in another folder") from None
    scoring = settings.get("scoring", "lmms-eval")
    results = {}
    for task in sorted(child.name for child in folder.iterdir() if child.is_dir()):
        found = list(read_predictions(folder / task).values())
        if found:
            results[task] = _without_score(found) if _is_unjudged(found) else found
            results[task] = [_as_counted(p, scoring) for p in results[task]]
    if not results:
        raise ValueError(f"nothing is answered in {folder} yet; run the command in {path} again")
    return Run(folder, settings, results)


def is_right(prediction: Prediction) -> bool:
    """Whether the answer got the full score."""
    return prediction.score == 1


def blind_score(prediction: Prediction) -> float | None:
    """The score without the video; None where that was not asked, or cannot be known."""
    return None if prediction.blind is None else prediction.blind.score


def answer_text(prediction: Prediction) -> str | None:
    """The right answer in words: the text of the right option, or the answer itself."""
    if not prediction.options:
        return prediction.answer
    place = answer_place(prediction)
    return None if place is None else prediction.options[place]


def answer_place(prediction: Prediction) -> int | None:
    """Which option is right, from 0; None for open questions, and where it is secret."""
    place = letter_place(prediction.answer)
    return place if place is not None and place < len(prediction.options) else None


def letter_place(letter: Any) -> int | None:
    """A is 0; None for anything that is not one capital letter."""
    is_letter = isinstance(letter, str) and len(letter) == 1
    return ascii_uppercase.index(letter) if is_letter and letter in ascii_uppercase else None


def _is_unjudged(predictions: Sequence[Prediction]) -> bool:
    """Whether no answer has a score: secret answers, or open ones that no judge has seen."""
    answered = [p for p in predictions if p.error is None]
    return bool(answered) and all(p.score is None for p in answered)


def _without_score(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Unreadable videos are wrong answers; where nothing else is scored they are no accuracy."""
    return [replace(p, score=None) for p in predictions]


def _as_counted(prediction: Prediction, scoring: str) -> Prediction:
    """Without its score where the benchmark leaves it out of the denominator.

    The harness drops empty answers from MVBench's; a video that could not be read is no answer, but
    counts as wrong.
    """
    is_dropped = (
        scoring == "lmms-eval"
        and prediction.task.startswith("mvbench_")
        and not prediction.output.strip()
        and prediction.error is None
    )
    return replace(prediction, score=None) if is_dropped else prediction
