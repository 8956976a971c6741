"""MovingShapes as a benchmark: unseen clips of the synthetic world, made as they are asked about.

Three tasks share the clips: `moving-shapes` asks the families of questions as multiple choice and
compares the options' own words (the miniature does not write letters), `moving-shapes-open` asks
the same openly (the greedy answer must equal the true one), and `moving-shapes-extras` asks what is
outside both means, a description and a follow-up question. Nothing need be on disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from mobile_videogpt.synthetic.dataset import FRAMES, SIDE, clip_number, clip_questions, write_clip
from mobile_videogpt.synthetic.questions import Question
from mobile_videogpt.synthetic.world import make_clip

from ..parsing_strict import strict_letter
from ..scored import Scored, as_scored
from ..task import DataReport, Item, Parsed, Row, Task, VideoRef

DEFAULT_QUESTIONS = 2400
QUESTIONS_FROM_FILES = 200  # the first ones go through real mp4 files, the rest through arrays
EXTRAS = ("dialogue", "description")  # asked and reported, but outside the means


@dataclass(frozen=True)
class ClipRef(VideoRef):
    """A clip by its number; `path` is only its name."""

    number: int = 0
    is_file: bool = False
    """Whether it is looked at through an mp4 file, or as an array of frames."""

    @property
    def exists(self) -> bool:
        """Always: it is made as it is asked for."""
        return True

    @property
    def source(self) -> bytes | np.ndarray:
        """The bytes of an mp4 file, or frames (T, H, W, 3)."""
        return clip_file(self.number) if self.is_file else clip_frames(self.number)


_NAME = "moving-shapes-test-"


def clip_ref(number: int, is_file: bool = False) -> ClipRef:
    """The test clip of that number."""
    name = f"{_NAME}{number:08d}{'.mp4' if is_file else ''}"
    return ClipRef(Path(name), number=number, is_file=is_file)


def clip_frames(number: int) -> np.ndarray:
    """Frames of a test clip, uint8 (32, 128, 128, 3), 8 per second."""
    return make_clip(number, "test").frames(FRAMES, SIDE)


def clip_file(number: int) -> bytes:
    """A test clip as the bytes of an mp4 file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(make_clip(number, "test"), path)
        return path.read_bytes()


@dataclass(frozen=True)
class Drawn:
    """One question of the benchmark: the `place`th about a clip."""

    clip: ClipRef
    place: int
    question: Question

    @property
    def id(self) -> str:
        """The same in all three tasks."""
        return f"{self.clip.number:08d}-{self.place}"


@lru_cache(maxsize=2)
def draw_questions(seed: int, limit: int) -> tuple[Drawn, ...]:
    """The first questions of a seed, clip by clip: `limit` of the families, and the extras between.

    Kept, because all three tasks ask for them.

    Raises:
        ValueError: the seed is negative.
    """
    return tuple(_draw(seed, limit))


def _draw(seed: int, limit: int) -> Iterator[Drawn]:
    asked = index = 0
    while asked < limit:
        number = clip_number(seed, index)
        clip = clip_ref(number, is_file=asked < QUESTIONS_FROM_FILES)
        questions = clip_questions(make_clip(number, "test"))[: limit - asked]
        for place, question in enumerate(questions):
            yield Drawn(clip, place, question)
            asked += question.family not in EXTRAS
        index += 1


class MovingShapes(Task):
    """One of the three tasks; `seed` says which unseen clips."""

    title = "MovingShapes"
    unit = "percent"
    metric = "accuracy"
    max_new_tokens = 64
    stop = ()
    compares = "options"
    answer_by: ClassVar[Literal["generation", "likelihood"]] = "likelihood"

    @property
    def is_choice(self) -> bool:
        """Whether the options are shown and one of them is chosen."""
        return self.name == "moving-shapes"

    def items(self, data_dir: str | Path = "") -> list[Item]:
        """See `Task`; nothing is read."""
        return self.first_items(data_dir, DEFAULT_QUESTIONS)

    def first_items(self, data_dir: str | Path, limit: int | None) -> list[Item]:
        """The questions among the first `limit` of the families."""
        drawn = draw_questions(self.seed, limit or DEFAULT_QUESTIONS)
        return [self._item(one) for one in drawn if self._asks(one.question)]

    def check(self, data_dir: str | Path = "") -> DataReport:
        """See `Task`; nothing can be missing."""
        items = self.items(data_dir)
        return DataReport(self.name, items=len(items), videos=len({i.video for i in items}))

    def prompt(self, row: Row) -> str:
        """See `Task`."""
        question = question_of(row)
        return question.with_options() if self.is_choice else question.open_text

    def history(self, row: Row) -> Sequence[tuple[str, str]]:
        """See `Task`."""
        return question_of(row).history

    def wants_blind(self, item: Item) -> bool:
        """Only the choice: open answers to nothing are never right."""
        return self.is_choice

    def read(self, row: Row, output: str) -> Parsed:
        """The letter of the option that is settled on; asked openly, the text itself."""
        if not self.is_choice:
            return Parsed(output.strip())
        return Parsed(strict_letter(output, row["options"]))

    def score(self, row: Row, prediction: Any) -> float | None:
        """1 for the right letter, or for the true answer word by word."""
        question = question_of(row)
        if self.is_choice:
            return float(prediction == question.letter)
        return float(str(prediction).strip().casefold() == question.answer.casefold())

    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """The mean over the families, in percent."""
        scored = [as_scored(self, entry) for entry in scored_items]
        families: dict[str, list[Scored]] = {}
        for entry in scored:
            families.setdefault(entry.sub_task or "", []).append(entry)
        rows = {
            name: {"value": 100 * _mean(entry.score or 0.0 for entry in own), "items": len(own)}
            for name, own in families.items()
        }
        value = _mean(row["value"] for row in rows.values())
        return {**self.headline(value, len(scored)), "by_sub_task": rows}

    def _asks(self, question: Question) -> bool:
        is_extra = question.family in EXTRAS
        return is_extra == (self.name == "moving-shapes-extras")

    def _item(self, drawn: Drawn) -> Item:
        question, clip = drawn.question, drawn.clip
        return Item(
            id=drawn.id,
            row={"clip": clip.number, "is_file": clip.is_file, **asdict(question)},
            video=clip,
            question=question.text,
            options=question.options if self.is_choice else (),
            answer=question.letter if self.is_choice else question.answer,
            sub_task=question.family,
        )


def question_of(row: Row) -> Question:
    """The question that a row holds."""
    return Question(
        family=row["family"],
        text=row["text"],
        answer=row["answer"],
        options=tuple(row["options"]),
        history=tuple((asked, said) for asked, said in row["history"]),
        needs_options=row["needs_options"],
    )


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0
