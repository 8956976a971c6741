"""What comes back: an `Answer`, its pieces while they are generated, and the scores of options."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import overload


@dataclass(frozen=True)
class Answer:
    """What the model said, and what it cost."""

    text: str
    timings: dict[str, float]
    """Seconds that this call spent per part; parts of the video are 0 once it is open."""
    tokens: dict[str, float]
    """`visual`, `prompt` (visual tokens included), `generated`, `per_second` (while decoding)."""
    finish_reason: str
    """"stop": the model ended its answer; "length": max_new_tokens did."""

    def __str__(self) -> str:
        return self.text


def letter_options(question: str, options: Sequence[str]) -> str:
    """The question with one lettered option a line, as multiple choice is asked.

    Raises:
        ValueError: more options than letters.

    >>> letter_options("Which way?", ["left", "right"]).splitlines()
    ['Which way?', 'A. left', 'B. right']
    """
    if len(options) > len(ascii_uppercase):
        raise ValueError(
            f"{len(options)} options are too many: give at most {len(ascii_uppercase)}"
        )
    lettered = [f"{a}. {text}" for a, text in zip(ascii_uppercase, options, strict=False)]
    return "\n".join([question, *lettered])


@dataclass(frozen=True)
class OptionScore:
    """How likely one answer is, as natural logarithms of probabilities."""

    option: str
    sum: float
    """Log-likelihood of the whole answer, its end included."""
    per_token: float
    """The sum divided by the number of tokens: does not punish long options."""
    tokens: int


class OptionScores(Sequence[OptionScore]):
    """The scores of all options, in the order in which they were given."""

    def __init__(self, scores: Sequence[OptionScore], timings: dict[str, float]) -> None:
        self._scores = tuple(scores)
        self.timings = timings

    @overload
    def __getitem__(self, key: int | str) -> OptionScore: ...

    @overload
    def __getitem__(self, key: slice) -> Sequence[OptionScore]: ...

    def __getitem__(self, key: int | str | slice) -> OptionScore | Sequence[OptionScore]:
        """By position, or by the option's text."""
        if not isinstance(key, str):
            return self._scores[key]
        for score in self._scores:
            if score.option == key:
                return score
        raise KeyError(key)

    def __len__(self) -> int:
        return len(self._scores)

    def __repr__(self) -> str:
        return f"OptionScores({', '.join(map(repr, self._scores))})"

    @property
    def best(self) -> OptionScore:
        """The likeliest option, by the sum; the first one of equals."""
        return max(self._scores, key=lambda score: score.sum)

    @property
    def probabilities(self) -> list[float]:
        """What each option's share would be if the model had to choose one of them."""
        top = self.best.sum
        weights = [math.exp(score.sum - top) for score in self._scores]
        return [weight / math.fsum(weights) for weight in weights]


class GrowingText:
    """Text out of ids that come one by one.

    Args:
        decode: ids to text.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self.ids: list[int] = []
        self.text = ""
        """What the pieces so far make together."""

    def add(self, token_id: int) -> str:
        """The piece that an id adds; nothing while a character is incomplete."""
        self.ids.append(token_id)
        return self._new_text(is_complete=False)

    def end(self) -> str:
        """The last piece."""
        return self._new_text(is_complete=True)

    def _new_text(self, is_complete: bool) -> str:
        text = self._decode(self.ids).strip()
        if not is_complete and (text.endswith("\ufffd") or not text.startswith(self.text)):
            return ""
        # Decoders may rewrite the end of what was shown ("do not"): at the end, go on from there.
        shown, self.text = self.text, text
        if text.startswith(shown):
            return text[len(shown) :]
        is_same = [old == new for old, new in zip(shown, text, strict=False)]
        shared = is_same.index(False) if False in is_same else len(is_same)
        return text[shared:]


class AnswerStream(Iterator[str]):
    """Pieces of an answer as they are generated; together they are `Answer.text`.

    Args:
        token_ids: the generated ids; consumed as pieces are asked for.
        decode: ids to text.
        build: makes the `Answer` from the ids and the text.
    """

    def __init__(
        self,
        token_ids: Generator[int, None, None],
        decode: Callable[[list[int]], str],
        build: Callable[[list[int], str], Answer],
    ) -> None:
        self._token_ids = token_ids
        self._said = GrowingText(decode)
        self._build = build
        self.on_end: Callable[[str], None] | None = None
        """Called once with the text, when the answer is complete or was stopped."""

    def __iter__(self) -> AnswerStream:
        return self

    def __next__(self) -> str:
        for token_id in self._token_ids:
            if piece := self._said.add(token_id):
                return piece
        if piece := self._said.end():
            return piece
        self._end()
        raise StopIteration

    def close(self) -> None:
        """Stop generating; what was said so far stays the answer."""
        self._token_ids.close()
        self._end()

    def finish(self) -> Answer:
        """Generate what is left, and return the whole answer."""
        for _ in self:
            pass
        return self._build(self._said.ids, self._said.text)

    def _end(self) -> None:
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(self._said.text)
