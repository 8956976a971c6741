"""The MovingShapes test set as a task: the same 1,800 questions for every model.

Clips are painted as they are asked about; the files that `mobile-videogpt data moving-shapes
--test-set` writes hold the same pixels. The prompt is the question with its lettered options. An
answer counts by its letter or by the option's own words, read strictly whatever the scoring: there
is no harness whose flaws would have to be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from mobile_videogpt.synthetic.questions import Question
from mobile_videogpt.synthetic.test_set import VERSION, FixedQuestion, draw_questions

from ..task import Item, Row
from .moving_shapes import MovingShapes, clip_ref


class MovingShapesTest(MovingShapes):
    """Version 1 of the set; the seed of a run changes nothing in it."""

    title = f"MovingShapes test set, version {VERSION}"
    max_new_tokens = 16
    answer_by = "generation"

    @property
    def settings(self) -> dict[str, Any]:
        """See `Task`."""
        return {"scoring": "strict", "seed": 0}

    @property
    def is_choice(self) -> bool:
        """Always."""
        return True

    def first_items(self, data_dir: str | Path, limit: int | None) -> list[Item]:
        """See `Task`; nothing is read."""
        return [_item(fixed) for fixed in draw_questions()[:limit]]

    def items(self, data_dir: str | Path = "") -> list[Item]:
        """All of them."""
        return self.first_items(data_dir, None)

    def prompt(self, row: Row) -> str:
        """See `Task`."""
        family, text, options = row["family"], row["question"], tuple(row["options"])
        right = options[ascii_uppercase.index(row["answer"])]
        return Question(family, text, right, options).with_options()

    def history(self, row: Row) -> Sequence[tuple[str, str]]:
        """None."""
        return ()

    def score(self, row: Row, prediction: Any) -> float | None:
        """1 for the right letter."""
        return float(prediction == row["answer"])


def _item(fixed: FixedQuestion) -> Item:
    row = fixed.row()
    return Item(
        id=row["id"],
        row=row,
        video=clip_ref(fixed.clip.seed),
        question=row["question"],
        options=tuple(row["options"]),
        answer=row["answer"],
        sub_task=row["family"],
    )
