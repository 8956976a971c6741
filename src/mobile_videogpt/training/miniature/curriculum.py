"""Which questions a training step asks: fresh wording each visit, families in balance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...config import MobileVideoGPTConfig
from ...synthetic.captions import ask_caption, ask_objects
from ...synthetic.questions import FAMILIES, Question, ask_dialogue, ask_questions
from ...synthetic.world import Clip

# What can be answered from the image tokens alone: stage 1 warms its projector up on these.
IMAGE_FAMILIES = ("object_existence",)
SHOW_OPTIONS = 0.35  # share of questions that are asked with their options


def draw_questions(
    clip: Clip,
    rng: np.random.Generator,
    count: int,
    families: tuple[str, ...] = (),
    per_family: Mapping[str, int] | None = None,
) -> list[tuple[Question, bool]]:
    """Up to `count` questions about the clip, each with whether its options are shown.

    `per_family` limits a family's share (2 where it says nothing): what few clips show should be
    asked more often where it is shown. Two in three rows end with a description, a list of the
    objects or a dialogue.
    """
    limits = per_family or {}
    questions = [
        question
        for family in families or FAMILIES
        for question in ask_questions(clip, rng, limits.get(family, 2), (family,))
    ]
    order = rng.permutation(len(questions))[:count]
    drawn = [(questions[i], bool(rng.random() < SHOW_OPTIONS)) for i in order]
    if families:
        return [*drawn, (ask_objects(clip, rng), False)]
    extras = [ask_dialogue(clip, rng), ask_caption(clip, rng), ask_objects(clip, rng)]
    extra = extras[rng.integers(3)]
    return [*drawn, (extra, False)] if extra else drawn


def draw_hidden_branch(
    config: MobileVideoGPTConfig, rng: np.random.Generator, image: float, video: float
) -> range | None:
    """Hide the image tokens with probability `image`, the video tokens with `video`, else none."""
    draw = rng.random()
    if draw < image:
        return range(config.num_image_tokens)
    if draw < image + video:
        return range(config.num_image_tokens, config.num_visual_tokens)
    return None
