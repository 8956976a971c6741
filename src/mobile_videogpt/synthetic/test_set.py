"""The MovingShapes test set: fixed questions about fixed clips, so that models can be compared.

Version 1 has 200 multiple-choice questions of each family about clips that no training sees. It is
drawn on demand and proves itself: `SHA256` is the checksum of its questions and of every pixel of
its frames, taken before any video coding, so that it is the same on every machine. A change of the
generator that would change a question or a pixel needs a new version; a test says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..files import write_json
from .dataset import FPS, FRAMES, SIDE, clip_number, clip_questions, write_clip
from .questions import FAMILIES, Question
from .world import HELD_OUT, Clip, make_clip

NAME = "MovingShapes test set"
VERSION = 1
SEED = 2026  # clips SEED * SEED_STRIDE + i of the split "test"
PER_FAMILY = 200
SHA256 = "732f6828261b7eb85fe37ef055c3addda88df3d38643c8e16eb5e11f25d84207"
QUESTIONS_FILE = "questions.jsonl"
ABOUT_FILE = "about.json"


@dataclass(frozen=True)
class FixedQuestion:
    """One question of the set. `id` names the clip by its place and the question by its family."""

    id: str
    clip: Clip
    question: Question

    @property
    def video(self) -> str:
        """Path of the clip below the folder of the set."""
        return f"videos/{self.id.split('-')[0]}.mp4"

    def row(self) -> dict[str, Any]:
        """The question as plain data: what `questions.jsonl` holds, one a line.

        `has_new_pair`: the clip shows a colour and shape that training never showed together.
        """
        names = {(shape.color, shape.shape) for shape in self.clip.shapes}
        return {
            "id": self.id,
            "video": self.video,
            "family": self.question.family,
            "question": self.question.text,
            "options": list(self.question.options),
            "answer": self.question.letter,
            "has_new_pair": not names.isdisjoint(HELD_OUT),
        }


@cache
def draw_questions() -> tuple[FixedQuestion, ...]:
    """All questions, clip by clip."""
    taken: Counter[str] = Counter()
    found: list[FixedQuestion] = []
    index = 0
    while len(found) < PER_FAMILY * len(FAMILIES):
        clip = make_clip(clip_number(SEED, index), "test")
        for question in clip_questions(clip):
            if question.family in FAMILIES and taken[question.family] < PER_FAMILY:
                taken[question.family] += 1
                found.append(FixedQuestion(f"{index:04d}-{question.family}", clip, question))
        index += 1
    return tuple(found)


def clips(questions: Iterable[FixedQuestion]) -> Iterator[tuple[str, Clip]]:
    """Each clip once with its path below the folder of the set, in order."""
    seen: set[str] = set()
    for question in questions:
        if question.video not in seen:
            seen.add(question.video)
            yield question.video, question.clip


def checksum(questions: Iterable[FixedQuestion]) -> str:
    """SHA-256 of the questions and of all pixels (`FRAMES` frames a clip, `SIDE` pixels a side)."""
    questions = list(questions)
    digest = hashlib.sha256()
    for question in questions:
        digest.update(json.dumps(question.row(), sort_keys=True).encode())
    for _, clip in clips(questions):
        digest.update(clip.frames(FRAMES, SIDE).tobytes())
    return digest.hexdigest()


def check() -> None:
    """Draw the whole set and compare it with `SHA256`; some ten seconds.

    Raises:
        ValueError: this machine draws something else.
    """
    found = checksum(draw_questions())
    if found != SHA256:
        import numpy

        raise ValueError(
            f"the MovingShapes test set drawn here has the checksum {found}, version {VERSION} has "
            f"{SHA256}; scores would not be comparable: use the NumPy of constraints.txt instead "
            f"of {numpy.__version__}"
        )


def write_test_set(
    out: str | Path, on_clip: Callable[[int, int], None] | None = None, limit: int | None = None
) -> Path:
    """Write the set into the folder OUT, which appears when it is complete; returns OUT.

    Args:
        out: gets `videos/NNNN.mp4` (lossless H.264: the pixels that the checksum is about),
            `questions.jsonl` and `about.json`; left as it is when it holds this version already.
        on_clip: called with (clips written, clips in all).
        limit: the first so many questions only, for a trial; `about.json` says so.

    Raises:
        ValueError: OUT holds something else, or the checksum is wrong.
    """
    out = Path(out)
    about = about_set(limit)
    if out.exists() and any(out.iterdir()):
        _check_own(out, about)
        return out
    if limit is None:
        check()
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        _write(partial, draw_questions()[:limit], about, on_clip)
        _publish(partial, out, about)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def about_set(limit: int | None = None) -> dict[str, Any]:
    """What `about.json` says."""
    questions = draw_questions()[:limit]
    return {
        "name": NAME,
        "version": VERSION,
        "sha256": SHA256 if limit is None else None,
        "questions": len(questions),
        "clips": sum(1 for _ in clips(questions)),
        "frames": FRAMES,
        "side": SIDE,
        "fps": FPS,
    }


def read_rows(folder: str | Path) -> list[dict[str, Any]]:
    """The rows of a written set.

    Raises:
        FileNotFoundError: there is none in `folder`.
    """
    lines = (Path(folder) / QUESTIONS_FILE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _write(
    folder: Path,
    questions: tuple[FixedQuestion, ...],
    about: dict[str, Any],
    on_clip: Callable[[int, int], None] | None,
) -> None:
    (folder / "videos").mkdir(parents=True)
    for done, (path, clip) in enumerate(clips(questions), start=1):
        write_clip(clip, folder / path, is_lossless=True)
        if on_clip is not None:
            on_clip(done, about["clips"])
    lines = "".join(f"{json.dumps(question.row())}\n" for question in questions)
    (folder / QUESTIONS_FILE).write_text(lines, encoding="utf-8")
    write_json(folder / ABOUT_FILE, about, indent=1)


def _publish(partial: Path, out: Path, about: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(partial, out)
    except OSError:
        # Another process was faster: what it wrote is the same.
        _check_own(out, about)


def _check_own(folder: Path, about: dict[str, Any]) -> None:
    path = folder / ABOUT_FILE
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if found != about:
        kind = "another version of it" if found else "something else"
        raise ValueError(
            f"{folder} is meant for the MovingShapes test set and holds {kind}; name another folder"
        )
