"""Questions to a model that has read a video: prompts go in, answers and likelihoods come out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mobile_videogpt.chat.answers import Answer, AnswerStream, OptionScore, OptionScores
from mobile_videogpt.engines.base import Engine, GenerationOptions, Prefix, Stopwatch

if TYPE_CHECKING:
    from mobile_videogpt.processor import MobileVideoGPTProcessor

History = Sequence[tuple[str, str]]


class Asking:
    """Writes questions as the model reads them, and has an engine go on from there.

    Args:
        engine: runs the language model.
        processor: writes the prompt.
        end_ids: the ids that end an answer; the first is the one that ends a turn.
        room: how many tokens the model reads at most.
    """

    def __init__(
        self,
        engine: Engine,
        processor: MobileVideoGPTProcessor,
        end_ids: Sequence[int],
        room: int,
    ) -> None:
        self._engine = engine
        self._processor = processor
        self.end_ids = tuple(end_ids)
        self._room = room

    def question_ids(self, question: str, history: History) -> list[int]:
        """The prompt from the end of the video on.

        Raises:
            ValueError: the question is empty, or too long together with the history.
        """
        if not question.strip():
            raise ValueError('the question is empty; ask something, e.g. "What happens?"')
        token_ids = self._processor.question_ids(question, history=history)
        prompt = len(self._processor.prefix_ids()) + len(token_ids)
        if prompt >= self._room:
            raise ValueError(
                f"question and history make a prompt of {prompt} tokens, but the model's context "
                f"is {self._room}; ask something shorter or forget earlier turns"
            )
        return token_ids

    def stream(
        self,
        prefix: Prefix,
        question_ids: Sequence[int],
        options: GenerationOptions,
        watch: Stopwatch,
        num_visual_tokens: int,
    ) -> AnswerStream:
        """An answer as it is generated."""
        token_ids = self._engine.generate(prefix, question_ids, options, watch)

        def build(ids: list[int], text: str) -> Answer:
            timings = watch.report()
            is_full = len(ids) >= options.max_new_tokens
            # The first token comes out of the prefill; the end token is decoded, but not shown.
            steps = len(ids) - 1 if is_full else len(ids)
            seconds = timings["decode_tokens"]
            tokens = {
                "visual": num_visual_tokens,
                "prompt": len(prefix.token_ids) + len(question_ids),
                "generated": len(ids),
                "per_second": round(steps / seconds, 2) if seconds else 0.0,
            }
            return Answer(text, timings, tokens, "length" if is_full else "stop")

        return AnswerStream(token_ids, self.decode, build)

    def score(
        self, prefix: Prefix, question_ids: Sequence[int], options: Sequence[str], watch: Stopwatch
    ) -> OptionScores:
        """How likely each option is, its end included."""
        answers = [[*self.encode(option), self.end_ids[0]] for option in options]
        with watch.measure("prefill"):
            logs = self._engine.score(prefix, question_ids, answers)
        scores = [
            OptionScore(option, math.fsum(row), math.fsum(row) / len(row), len(row))
            for option, row in zip(options, logs, strict=True)
        ]
        return OptionScores(scores, watch.report())

    def encode(self, text: str) -> list[int]:
        """Ids of a text, with nothing around it."""
        return self._processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    def decode(self, token_ids: list[int]) -> str:
        """The text of ids, without what only the model reads."""
        return self._processor.tokenizer.decode(token_ids, skip_special_tokens=True)
