"""Several answers decoded together, each of which may begin and end at any time.

A decoding step reads all weights to make one token. `SideBySide` makes one token for every answer
of that reading, on a CPU; `TakingTurns` gives any engine's answers a step each in turn, so that
none waits for another to end.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from mobile_videogpt.engines.base import Engine, GenerationOptions, Prefix
from mobile_videogpt.engines.decoding import TokenChooser
from mobile_videogpt.engines.onnx_engine import OnnxEngine
from mobile_videogpt.engines.onnx_readings import OnnxReadings
from mobile_videogpt.engines.torch_engine import TorchEngine
from mobile_videogpt.engines.torch_readings import TorchReadings


class DecodingBatch(Protocol):
    """Answers under way; each is known by the number that `add` gave it."""

    def add(
        self, prefix: Prefix, token_ids: Sequence[int], options: GenerationOptions
    ) -> tuple[int, int | None]:
        """Read a question; returns the answer's number and first token, None if it is empty."""

    def step(self) -> dict[int, int | None]:
        """The next token of every answer; None ends it, and takes it out."""

    def remove(self, row: int) -> None:
        """Give an answer up; one that has ended already is no error."""

    def __len__(self) -> int:
        """How many answers are under way."""


def new_batch(engine: Engine, max_rows: int) -> DecodingBatch:
    """The best way in which this engine decodes several answers together."""
    if isinstance(engine, TorchEngine) and engine.runs_by_hand:
        return SideBySide(engine, TorchReadings(engine, max_rows))
    if isinstance(engine, OnnxEngine) and engine.reads_together:
        return SideBySide(engine, OnnxReadings(engine))
    return TakingTurns(engine)


class TakingTurns:
    """One step for each answer, one after the other; for every engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rows: dict[int, Generator[int, None, None]] = {}
        self._next_row = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self, prefix: Prefix, token_ids: Sequence[int], options: GenerationOptions
    ) -> tuple[int, int | None]:
        """See `DecodingBatch`."""
        row, self._next_row = self._next_row, self._next_row + 1
        tokens = self._engine.generate(prefix, token_ids, options, self._engine.stopwatch())
        # While the question is read, the engine may pause for a step of the others.
        first = next(tokens, None)
        if first is not None:
            self._rows[row] = tokens
        return row, first

    def step(self) -> dict[int, int | None]:
        """See `DecodingBatch`."""
        return {row: self._advance(row) for row in list(self._rows)}

    def remove(self, row: int) -> None:
        """See `DecodingBatch`."""
        tokens = self._rows.pop(row, None)
        if tokens is not None:
            tokens.close()

    def _advance(self, row: int) -> int | None:
        token = next(self._rows[row], None)
        if token is None:
            self.remove(row)
        return token


class Readings(Protocol):
    """What an engine keeps of answers under way, by place: 0, 1, 2 and so on."""

    def begin(self, prefix: Prefix, token_ids: Sequence[int], max_new_tokens: int) -> Tensor:
        """Read a question; its answer has the next place. Logits of what follows, (1, V)."""

    def read(self, token_ids: Sequence[int]) -> Tensor:
        """Read the latest token of every answer; what follows each, (answers, 1, V)."""

    def end(self, place: int) -> None:
        """Let an answer go; the last one takes its place."""


class _Answer:
    """One row of `SideBySide`."""

    def __init__(self, number: int, choose: TokenChooser, token: int, remaining: int) -> None:
        self.number = number
        self.choose = choose
        self.token = token  # the latest
        self.remaining = remaining  # tokens that may still come


class SideBySide:
    """One pass over the weights gives every answer its next token.

    An answer is what the engine's `generate` yields for it, but for the rounding of products of
    other sizes.

    Args:
        engine: whose answers they are.
        readings: of that engine.
    """

    def __init__(self, engine: TorchEngine | OnnxEngine, readings: Readings) -> None:
        self._engine = engine
        self._readings = readings
        self._answers: list[_Answer] = []  # by place
        self._next_row = 0

    def __len__(self) -> int:
        return len(self._answers)

    @torch.inference_mode()
    def add(
        self, prefix: Prefix, token_ids: Sequence[int], options: GenerationOptions
    ) -> tuple[int, int | None]:
        """See `DecodingBatch`."""
        row, self._next_row = self._next_row, self._next_row + 1
        choose = TokenChooser(options, self._engine.generation_config, self._engine.device)
        # While the question is read, the engine may pause for a step of the others.
        logits = self._readings.begin(prefix, token_ids, options.max_new_tokens)
        token = choose(logits)
        self._answers.append(_Answer(row, choose, token, options.max_new_tokens - 1))
        has_ended = token in self._engine.end_token_ids
        if has_ended or options.max_new_tokens == 1:
            self.remove(row)
        return row, None if has_ended else token

    @torch.inference_mode()
    def step(self) -> dict[int, int | None]:
        """See `DecodingBatch`."""
        if not self._answers:
            return {}
        logits = self._readings.read([answer.token for answer in self._answers])
        found: dict[int, int | None] = {}
        for place, answer in enumerate(self._answers):
            if not answer.remaining:
                found[answer.number] = None
                continue
            answer.token = answer.choose(logits[place])
            answer.remaining -= 1
            has_ended = answer.token in self._engine.end_token_ids
            found[answer.number] = None if has_ended else answer.token
        for row, token in found.items():
            if token is None:
                self.remove(row)
        return found

    def remove(self, row: int) -> None:
        """See `DecodingBatch`."""
        numbers = [answer.number for answer in self._answers]
        if row not in numbers:
            return
        place = numbers.index(row)
        self._readings.end(place)
        self._answers[place] = self._answers[-1]
        self._answers.pop()
