"""Run folders with predictions as the runner writes them, made up here: no model is asked."""

import json
import random
from pathlib import Path
from string import ascii_uppercase

from mobile_videogpt.evaluation.predictions import Blind, Prediction, PredictionFolder

ORIGIN = {
    "command": "mobile-videogpt eval x --output OUT",
    "commit": "0123456789ab",
    "versions": {"python": "3.11", "torch": "2.13.0"},
    "machine": {"cpu": "a processor", "cores": 2, "platform": "Linux"},
}


def prediction(number: int, *, right: bool, task: str = "nextqa_mc_test", **changes) -> Prediction:
    """Question `number` about video `number // 2`, with four options."""
    answer = ascii_uppercase[number % 4]
    given = answer if right else ascii_uppercase[(number + 1) % 4]
    values = {
        "task": task,
        "id": f"q{number}",
        "sub_task": None,
        "group": None,
        "prompt": f"What happens in {number}?\nA. a\nB. b\nC. c\nD. d",
        "output": given,
        "prediction": given,
        "answer": answer,
        "score": float(right),
        "options": tuple(f"thing {letter}" for letter in "abcd"),
        "video": f"videos/{number // 2}.mp4",
        "seconds": 0.5,
        "tokens": 2,
        "ttft_s": 0.4,
        "decode_s": 0.1,
        "is_first": number % 2 == 0,
    }
    return Prediction(**{**values, **changes})


def made_up(
    count: int,
    share: float,
    *,
    seed: int = 0,
    blind_share: float | None = None,
    kinds: tuple[str, ...] = (),
    **changes,
) -> list[Prediction]:
    """`count` predictions of which about `share` are right."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        values = dict(changes)
        if kinds:
            values["sub_task"] = kinds[number % len(kinds)]
        if blind_share is not None:
            score = float(draw.random() < blind_share)
            values["blind"] = Blind("A", "A", score)
        found.append(prediction(number, right=draw.random() < share, **values))
    return found


def write_run(folder: Path, predictions: list[Prediction], **settings) -> Path:
    """A run folder with these predictions; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    run = {"model": "made-up", "scoring": "lmms-eval", **ORIGIN}
    (folder / "run.json").write_text(json.dumps({**run, **settings}), encoding="utf-8")
    for task in dict.fromkeys(p.task for p in predictions):
        writer = PredictionFolder(folder / task)
        for each in predictions:
            if each.task == task:
                writer.append(each)
    return folder
