"""A clip's questions as one row behind its visual tokens; see `training.shared_prefix`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ...processor.processor import SYSTEM_PROMPT
from ...processor.prompt import IGNORED
from ...synthetic.questions import Question
from ..shared_prefix import HIDDEN, SharedRow

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PackedRow(SharedRow):
    """One clip with its questions, and the family of each."""

    families: tuple[str, ...]


class QuestionPacker:
    """Turns questions into packed rows with the tokenizer's ChatML markers."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, num_visual_tokens: int) -> None:
        pad = "<|video_pad|>"
        self._tokenizer = tokenizer
        self.pad_id: int = tokenizer.pad_token_id
        head = f"<|im_start|>system\n{SYSTEM_PROMPT}<|im_end|>\n<|im_start|>user\n"
        self.prefix = self._encode(head + pad * num_visual_tokens + "\n")
        self.first_visual = len(self._encode(head))
        self._cache: dict[str, list[int]] = {}

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False).input_ids

    def _piece(self, text: str) -> list[int]:
        if text not in self._cache:
            self._cache[text] = self._encode(text)
        return self._cache[text]

    def asked(self, text: str) -> list[int]:
        """Token ids of a user's turn, up to where the answer begins."""
        return self._piece(f"{text}<|im_end|>\n<|im_start|>assistant\n")

    def reply(self, text: str) -> list[int]:
        """Token ids of an answer with its end."""
        return self._piece(f"{text}<|im_end|>")

    def segment(self, question: Question, has_options: bool) -> tuple[list[int], list[int]]:
        """Token ids of one question after the prefix, and labels that cover its answers only."""
        turns = [*question.history]
        shown = question.with_options() if has_options else question.open_text
        turns.append((shown, question.answer))
        ids: list[int] = []
        labels: list[int] = []
        for number, (asked, answer) in enumerate(turns):
            opening = "\n<|im_start|>user\n" if number else ""
            ask = self.asked(f"{opening}{asked}")
            reply = self.reply(answer)
            ids += ask + reply
            labels += [IGNORED] * len(ask) + reply
        return ids, labels

    def pack(
        self, questions: Sequence[tuple[Question, bool]], hidden: range | None = None
    ) -> PackedRow:
        """One row from (question, shown with its options?) pairs.

        `hidden` are the visual tokens (counted from the first) that no one may attend to: how one
        branch is left out without moving the other.
        """
        ids, labels = list(self.prefix), [IGNORED] * len(self.prefix)
        positions, segments = list(range(len(ids))), [0] * len(ids)
        for place in hidden or ():
            segments[self.first_visual + place] = HIDDEN
        for number, (question, has_options) in enumerate(questions, start=1):
            part, targets = self.segment(question, has_options)
            ids += part
            labels += targets
            positions += range(len(self.prefix), len(self.prefix) + len(part))
            segments += [number] * len(part)
        return PackedRow(
            input_ids=torch.tensor(ids),
            labels=torch.tensor(labels),
            position_ids=torch.tensor(positions),
            segments=torch.tensor(segments),
            families=tuple(_family(q, mc) for q, mc in questions),
        )


def _family(question: Question, has_options: bool) -> str:
    return question.family + ("/choice" if has_options else "/open")


def segment_correct(logits: torch.Tensor, batch: dict[str, torch.Tensor]) -> list[list[bool]]:
    """For each row, whether greedy decoding would give each segment's answer exactly."""
    labels, segments = batch["labels"][:, 1:], batch["segments"][:, 1:]
    is_wrong = (logits[:, :-1].argmax(-1) != labels) & (labels != IGNORED)
    results = []
    for row_wrong, row_segments in zip(is_wrong, segments, strict=True):
        count = int(row_segments.max())
        bad = set(row_segments[row_wrong].tolist())
        results.append([number not in bad for number in range(1, count + 1)])
    return results
