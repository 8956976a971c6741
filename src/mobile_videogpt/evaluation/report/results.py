"""A run folder as the report sees it: its settings, and the predictions of each task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from ..predictions import Prediction, read_predictions

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Run:
    """One run: where it lies, how it was made (`run.json`), what came out, by task."""

    folder: Path
    settings: Mapping[str, Any]
    results: Mapping[str, Sequence[Prediction]]


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
        found = read_predictions(folder / task)
        if found:
            results[task] = [_as_counted(p, scoring) for p in found.values()]
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
    if not prediction.options or prediction.answer is None:
        return prediction.answer
    place = ascii_uppercase.find(prediction.answer)
    return prediction.options[place] if 0 <= place < len(prediction.options) else None


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
