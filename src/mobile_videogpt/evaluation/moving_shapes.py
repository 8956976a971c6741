"""The MovingShapes benchmark: unseen clips, exact answers, beside three baselines.

Each question is asked twice: open (the greedy answer must equal the true one) and as multiple
choice (the letter whose option is the likeliest answer to the question shown with its lettered
options; the model is not asked to write the letter). The blind baseline asks the same questions
about a black clip.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..chat import EncodedVideo, VideoChat
from ..synthetic.dataset import FRAMES, SIDE, clip_number, clip_questions, write_clip
from ..synthetic.questions import FAMILIES, LETTERS, Question
from ..synthetic.world import make_clip

DEFAULT_QUESTIONS = 2400
QUESTIONS_FROM_FILES = 200  # the first ones go through real mp4 files, the rest through arrays
EXTRAS = ("dialogue", "description")  # asked and reported, but outside the means


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
    **loading: Any,
) -> dict[str, Any]:
    """Run the benchmark on the unseen clips of `seed`; `limit` is the number of questions.

    `loading` goes to `VideoChat` (device, dtype, engine, merge_tokens). Returns plain data: shares
    are 0 to 1, the two accuracies are means over the families.
    """
    chat = VideoChat(model, **loading)
    results = list(run_questions(chat, seed, limit or DEFAULT_QUESTIONS))
    merged = loading.get("merge_tokens")
    setting = {} if merged is None else {"merge_tokens": merged}
    return {"model": model, "seed": seed, **setting, **report(results)}


def run_questions(chat: VideoChat, seed: int, limit: int) -> Iterator[Result]:
    """Ask `limit` questions, clip by clip."""
    black = chat.open(np.zeros((FRAMES, SIDE, SIDE, 3), dtype=np.uint8))
    asked = 0
    index = 0
    with tempfile.TemporaryDirectory() as folder:
        while asked < limit:
            clip = make_clip(clip_number(seed, index), "test")
            is_file = asked < QUESTIONS_FROM_FILES
            if is_file:
                path = Path(folder) / "clip.mp4"
                write_clip(clip, path)
                video = chat.open(path)
            else:
                video = chat.open(clip.frames(FRAMES, SIDE))
            for question in clip_questions(clip)[: max(limit - asked, 0)]:
                yield ask(chat, video, black, question, is_file)
                asked += question.family not in EXTRAS
            index += 1


def ask(
    chat: VideoChat, video: EncodedVideo, black: EncodedVideo, question: Question, is_file: bool
) -> Result:
    """Put one question in all its forms."""
    answer = chat.ask(video, question.open_text, history=question.history, max_new_tokens=64)
    letters = [
        _choose(chat, shown, question) if question.options else None for shown in (video, black)
    ]
    return Result(question, str(answer).strip(), letters[0], letters[1], is_file)


def _choose(chat: VideoChat, video: EncodedVideo, question: Question) -> str:
    scores = chat.choose(video, question.text, question.options, history=question.history)
    best = max(range(len(question.options)), key=lambda i: scores[i].sum)
    return LETTERS[best]


def report(results: list[Result]) -> dict[str, Any]:
    """Accuracies per family and their means."""
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
        "scoring": "multiple choice: letter of the likeliest option; open: exact match",
        "families": families,
        "extras": {f: _extra_row(by_family[f]) for f in EXTRAS if by_family[f]},
    }


def _family_row(results: list[Result]) -> dict[str, float | int]:
    answers = Counter(r.question.answer for r in results)
    return {
        "multiple_choice": _mean(r.letter == r.question.letter for r in results),
        "open": _mean(_is_exact(r) for r in results),
        "chance": _mean(1 / len(r.question.options) for r in results),
        "majority": answers.most_common(1)[0][1] / len(results),
        "blind": _mean(r.blind_letter == r.question.letter for r in results),
        "n": len(results),
    }


def _extra_row(results: list[Result]) -> dict[str, float | int]:
    return {"open": _mean(_is_exact(r) for r in results), "n": len(results)}


def _is_exact(result: Result) -> bool:
    return result.open_answer.casefold() == result.question.answer.casefold()


def _mean(values: Any) -> float:
    numbers = [float(value) for value in values]
    return sum(numbers) / len(numbers) if numbers else 0.0
