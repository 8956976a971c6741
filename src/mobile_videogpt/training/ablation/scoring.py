"""What a trained variant answers about unseen clips, from stored features.

The questions and the two ways to answer are those of `evaluation.moving_shapes`: open (the greedy
answer must equal the true one) and multiple choice (the option that is the likeliest answer to the
question shown with its lettered options). All of a clip's questions, and all options of each, stand
behind one visual prefix, so that a clip is one pass of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from ...synthetic.dataset import clip_questions
from ...synthetic.questions import FAMILIES, LETTERS, Question
from ...synthetic.vocabulary import build_tokenizer
from ...synthetic.world import make_clip
from ..miniature.features import FeatureStore
from ..miniature.packing import QuestionPacker
from ..shared_prefix import PREFIX

NO_PARENT = -1


@dataclass
class AnswerTree:
    """A prefix, texts that follow it, and texts that follow these.

    Every text sees the prefix, the text it follows (its parent) and itself, at the positions it
    would have if it stood there alone.
    """

    ids: list[int]
    positions: list[int] = field(init=False)
    segments: list[int] = field(init=False)
    parents: list[int] = field(init=False)
    """Of each token: its text's number (the prefix is 0), and that of the text which it follows."""
    spans: list[range] = field(init=False)
    """Of each text: where its tokens stand."""

    def __post_init__(self) -> None:
        size = len(self.ids)
        self.positions, self.spans = list(range(size)), [range(size)]
        self.segments, self.parents = [PREFIX] * size, [NO_PARENT] * size

    def add(self, ids: Sequence[int], parent: int = PREFIX) -> int:
        """Append a text after `parent`; returns its number."""
        segment, begin = len(self.spans), self.positions[self.spans[parent][-1]] + 1
        self.spans.append(range(len(self.ids), len(self.ids) + len(ids)))
        self.ids += ids
        self.positions += range(begin, begin + len(ids))
        self.segments += [segment] * len(ids)
        self.parents += [parent] * len(ids)
        return segment

    def predicting(self, segment: int) -> list[int]:
        """Where each token of a text is predicted: at the end of its parent, then in itself."""
        span = self.spans[segment]
        return [self.spans[self.parents[span[0]]][-1], *span[:-1]]

    def mask(self) -> Tensor:
        """Who sees whom, bool (1, 1, L, L)."""
        segments, parents = torch.tensor(self.segments), torch.tensor(self.parents)
        is_seen = segments[None, :] == segments[:, None]
        is_seen |= segments[None, :] == parents[:, None]
        is_seen |= (segments == PREFIX)[None, :]
        return (is_seen & torch.ones_like(is_seen).tril())[None, None]


def score(
    model: MobileVideoGPTForConditionalGeneration, store: FeatureStore
) -> list[dict[str, Any]]:
    """One row a question about the clips of `store`: clip, family, open and multiple choice.

    `open` says whether the greedy answer is exactly right, `letter` which option is the likeliest.
    """
    packer = QuestionPacker(build_tokenizer(), model.config.num_visual_tokens)
    model.eval()
    rows = []
    for number in range(store.cache.num_clips):
        clip = make_clip(number, store.cache.split)
        questions = [q for q in clip_questions(clip) if q.family in FAMILIES]
        features = {
            f"{name}_features": torch.from_numpy(store[name][number].astype(np.float32))[None]
            for name in ("image", "video")
        }
        for question, answer in zip(
            questions, answer_clip(model, packer, questions, features), strict=True
        ):
            row = {"clip": number, "family": question.family, "true": question.letter}
            rows.append({**row, "options": len(question.options), **answer})
    return rows


@torch.inference_mode()
def answer_clip(
    model: MobileVideoGPTForConditionalGeneration,
    packer: QuestionPacker,
    questions: Sequence[Question],
    features: dict[str, Tensor],
) -> list[dict[str, Any]]:
    """`open` (bool) and `letter` of every question about one clip.

    Args:
        model: in evaluation mode.
        packer: for as many visual tokens as the model has.
        questions: without history.
        features: `image_features` (1, T, N, D) and `video_features` (1, K, N, D).
    """
    tree = AnswerTree(list(packer.prefix))
    asked = [_ask(tree, packer, question) for question in questions]
    logits = model(
        input_ids=torch.tensor([tree.ids]),
        position_ids=torch.tensor([tree.positions]),
        attention_mask=tree.mask(),
        **features,
    ).logits[0]
    log_probs = F.log_softmax(logits.float(), dim=-1)
    return [_read(tree, log_probs, one) for one in asked]


@dataclass(frozen=True)
class AskedQuestion:
    """One question in the tree: the texts of its open answer and of its options."""

    question: Question
    open_answer: int
    options: list[int]


def _ask(tree: AnswerTree, packer: QuestionPacker, question: Question) -> AskedQuestion:
    asked = tree.add(packer.asked(question.open_text))
    open_answer = tree.add(packer.reply(question.answer), asked)
    shown = tree.add(packer.asked(question.with_options()))
    options = [tree.add(packer.reply(option), shown) for option in question.options]
    return AskedQuestion(question, open_answer, options)


def _read(tree: AnswerTree, log_probs: Tensor, asked: AskedQuestion) -> dict[str, Any]:
    def said(segment: int) -> tuple[Tensor, Tensor]:
        wanted = torch.tensor([tree.ids[place] for place in tree.spans[segment]])
        return log_probs[tree.predicting(segment)], wanted

    logs, wanted = said(asked.open_answer)
    likelihoods = []
    for option in asked.options:
        option_logs, tokens = said(option)
        likelihoods.append(float(option_logs.gather(-1, tokens[:, None]).sum()))
    best = max(range(len(likelihoods)), key=likelihoods.__getitem__)
    return {"open": bool((logs.argmax(-1) == wanted).all()), "letter": LETTERS[best]}
