"""What can be wrong with the words of a record; no file is opened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .records import Record, Turn

_CONTROL_TOKEN = re.compile(r"<\|[a-z0-9_]{2,30}\|>")
# Qwen's vocabulary comes near four bytes of UTF-8 a token in most scripts.
_BYTES_PER_TOKEN = 4
# The header and end of a ChatML turn.
_TOKENS_PER_TURN = 5


@dataclass(frozen=True)
class TokenBudget:
    """How long a conversation may be.

    Attributes:
        limit: tokens of text and visual tokens together.
        per_video, per_image: visual tokens; by default those of the released models.
    """

    limit: int = 4096
    per_video: int = 2402
    per_image: int = 144

    def estimate(self, record: Record) -> int:
        """About how many tokens a record takes."""
        text = sum(text_tokens(turn.text) + _TOKENS_PER_TURN for turn in record.turns)
        videos = sum(media.kind == "video" for media in record.media)
        return text + videos * self.per_video + (len(record.media) - videos) * self.per_image


def text_tokens(text: str) -> int:
    """About how many tokens a text takes."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def check_texts(record: Record, budget: TokenBudget) -> Iterator[tuple[str, str]]:
    """Kind and message of everything that is wrong with a record's words."""
    for turn in record.turns:
        yield from _check_turn(turn)
    tokens = budget.estimate(record)
    if tokens > budget.limit:
        yield "too_long", f"about {tokens} tokens, the limit is {budget.limit}."


def _check_turn(turn: Turn) -> Iterator[tuple[str, str]]:
    if not turn.text.strip():
        if turn.role == "assistant":
            yield "empty_answer", "an answer is empty."
        elif turn.role == "user" and not turn.media:
            yield "empty_question", "a user turn is empty."
    token = _CONTROL_TOKEN.search(turn.text)
    if token is not None:
        yield "special_tokens", f"{token[0]} stands in the text of a {turn.role} turn."
