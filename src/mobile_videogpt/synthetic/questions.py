"""Questions about a MovingShapes clip, with varied wording and shuffled options.

What can be asked, and its exact answer, comes from `families.py`; here it becomes a question.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .families import DRAFTERS, Draft, attribute_drafts
from .world import COLORS, SHAPES, Clip

LETTERS = "ABCDE"
FAMILIES = tuple(DRAFTERS)


@dataclass(frozen=True)
class Question:
    """One question. `options` are the shuffled choices (the answer among them).

    `needs_options` marks a question that has one right answer among its options only.
    """

    family: str
    text: str
    answer: str
    options: tuple[str, ...]
    history: tuple[tuple[str, str], ...] = ()
    needs_options: bool = False

    @property
    def open_text(self) -> str:
        """How the question is asked when an open answer is wanted."""
        return self.with_options() if self.needs_options else self.text

    @property
    def letter(self) -> str:
        return LETTERS[self.options.index(self.answer)]

    def with_options(self) -> str:
        """The multiple-choice form: the question, then one lettered option a line."""
        lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, self.options, strict=False)]
        return "\n".join([self.text, *lines])


def ask_questions(
    clip: Clip, rng: np.random.Generator, per_family: int = 1, families: tuple[str, ...] = ()
) -> list[Question]:
    """Draw up to `per_family` different questions of each family that applies to the clip."""
    drawn = []
    for family in families or FAMILIES:
        # A weight below one is also the chance of being kept: common cases must not drown the rest.
        drafts = [d for d in DRAFTERS[family](clip, rng) if rng.random() < d.weight]
        if not drafts:
            continue
        weights = np.array([draft.weight for draft in drafts])
        count = min(per_family, len(drafts))
        picks = rng.choice(len(drafts), size=count, replace=False, p=weights / weights.sum())
        drawn += [_finish(family, drafts[i], rng) for i in picks]
    return drawn


def _finish(family: str, draft: Draft, rng: np.random.Generator) -> Question:
    wrong = [text for text in dict.fromkeys(draft.pool) if text != draft.answer]
    wrong = [wrong[i] for i in rng.permutation(len(wrong))[: draft.count - 1]]
    options = [draft.answer, *wrong]
    options = [options[i] for i in rng.permutation(len(options))]
    wording = draft.wordings[rng.integers(len(draft.wordings))]
    return Question(
        family, wording, draft.answer, tuple(options), needs_options=draft.needs_options
    )


def ask_dialogue(clip: Clip, rng: np.random.Generator) -> Question | None:
    """A follow-up ("What shape is it?") whose first turn identified an object by its motion."""
    drafts = [
        (shape, draft)
        for shape in clip.shapes
        if shape.event.kind != "recolor"
        for draft in attribute_drafts(clip, shape)
    ]
    if not drafts:
        return None
    shape, first = drafts[rng.integers(len(drafts))]
    is_color_known = first.pool == COLORS
    what, answer = ("shape", shape.shape) if is_color_known else ("color", shape.color)
    pool = SHAPES if is_color_known else COLORS
    draft = Draft((f"What {what} is it?", f"And which {what} is it?"), answer, pool)
    turn = (first.wordings[rng.integers(len(first.wordings))], first.answer)
    return replace(_finish("dialogue", draft, rng), history=(turn,))
