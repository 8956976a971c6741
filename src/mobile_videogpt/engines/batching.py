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
from torch.nn import functional as F
from transformers.cache_utils import Cache

from mobile_videogpt.engines.base import Engine, GenerationOptions, Prefix
from mobile_videogpt.engines.decoding import TokenChooser
from mobile_videogpt.engines.kv_cache import SPARE_TOKENS
from mobile_videogpt.engines.qwen2 import Qwen2Runner
from mobile_videogpt.engines.torch_engine import TorchEngine


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
        return SideBySide(engine, max_rows)
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


class _Answer:
    """One row of `SideBySide`."""

    def __init__(
        self, number: int, choose: TokenChooser, length: int, gap: int, remaining: int
    ) -> None:
        self.number = number
        self.choose = choose
        self.length = length  # rows of keys and values
        self.gap = gap
        self.remaining = remaining  # tokens that may still come
        self.token = 0  # the latest


class SideBySide:
    """One pass over the weights gives every answer its next token.

    Keys and values of all answers stand in one tensor per layer, as long as the longest of them;
    what a shorter one lacks is masked. An answer is what `TorchEngine.generate` yields for it, but
    for the rounding of products of other sizes.

    Args:
        engine: one whose `runs_by_hand` is true.
        max_rows: answers at a time; memory is used for as many as there are.
    """

    def __init__(self, engine: TorchEngine, max_rows: int) -> None:
        self._engine = engine
        self._runner = _BatchRunner(engine.model.language_model)
        self._slots = _Slots(max_rows)
        self._answers: list[_Answer] = []  # by slot
        self._next_row = 0

    def __len__(self) -> int:
        return len(self._answers)

    @torch.inference_mode()
    def add(
        self, prefix: Prefix, token_ids: Sequence[int], options: GenerationOptions
    ) -> tuple[int, int | None]:
        """See `DecodingBatch`."""
        row, self._next_row = self._next_row, self._next_row + 1
        engine = self._engine
        choose = TokenChooser(options, engine.model.generation_config, engine.device)
        cache, logits = engine.read_question(prefix, token_ids)
        token = choose(logits)
        if token in engine.end_token_ids:
            return row, None
        if options.max_new_tokens > 1:
            length = len(prefix.token_ids) + len(token_ids)
            answer = _Answer(row, choose, length, prefix.gap, options.max_new_tokens - 1)
            answer.token = token
            self._slots.fill(len(self._answers), cache)
            self._answers.append(answer)
        return row, token

    @torch.inference_mode()
    def step(self) -> dict[int, int | None]:
        """See `DecodingBatch`."""
        if not self._answers:
            return {}
        logits = self._read()
        found: dict[int, int | None] = {}
        for slot, answer in enumerate(self._answers):
            if not answer.remaining:
                found[answer.number] = None
                continue
            answer.token = answer.choose(logits[slot])
            answer.remaining -= 1
            ended = answer.token in self._engine.end_token_ids
            found[answer.number] = None if ended else answer.token
        for row, token in found.items():
            if token is None:
                self.remove(row)
        return found

    def remove(self, row: int) -> None:
        """See `DecodingBatch`."""
        numbers = [answer.number for answer in self._answers]
        if row not in numbers:
            return
        slot, last = numbers.index(row), len(numbers) - 1
        moved = self._answers.pop()
        if slot != last:
            self._slots.move(last, slot, moved.length)
            self._answers[slot] = moved

    def _read(self) -> Tensor:
        """The logits that follow every answer's latest token, (answers, 1, V)."""
        tokens = torch.tensor([[answer.token] for answer in self._answers])
        places = torch.tensor([[answer.length + answer.gap] for answer in self._answers])
        embeds = self._engine.model.get_input_embeddings()(tokens)  # (answers, 1, E)
        self._slots.aim([answer.length for answer in self._answers])
        self._runner.mask = self._slots.mask
        logits = self._runner.read(embeds, self._slots, places, "last")
        for answer in self._answers:
            answer.length += 1
        return logits


class _BatchRunner(Qwen2Runner):
    """Decodes rows of different lengths."""

    mask: Tensor | None = None
    """(rows, 1, 1, longest): which keys are a row's own; None if all are."""

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor, length: int) -> Tensor:
        grouped = q.reshape(len(keys), self._kv_heads, -1, self._width)
        attended = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=self.mask)
        return attended.view(len(keys), 1, -1)


class _Slots(Cache):
    """Keys and values of several rows, (rows, heads, capacity, width) per layer."""

    def __init__(self, max_rows: int) -> None:
        super().__init__(layers=[])
        self._max_rows = max_rows
        self._capacity = 0
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._rows = torch.empty(0, dtype=torch.long)
        self._ends = torch.empty(0, dtype=torch.long)
        self._longest = 0
        self.mask: Tensor | None = None

    def fill(self, slot: int, cache: Cache) -> None:
        """Let a slot hold what `cache`, of one row, holds."""
        layers = cache.layers
        length = cache.get_seq_length()
        self._make_room(length + 1, layers)
        for index, layer in enumerate(layers):
            self._keys[index][slot, :, :length] = layer.keys[0]
            self._values[index][slot, :, :length] = layer.values[0]

    @torch.inference_mode()
    def move(self, source: int, target: int, length: int) -> None:
        """Copy the rows of one slot into another."""
        for tensor in (*self._keys, *self._values):
            tensor[target, :, :length] = tensor[source, :, :length]

    def aim(self, lengths: Sequence[int]) -> None:
        """The next keys and values belong behind so many rows of the first slots."""
        self._longest = max(lengths) + 1
        self._make_room(self._longest, None)
        self._rows = torch.arange(len(lengths))
        self._ends = torch.tensor(lengths)
        places = torch.arange(self._longest)
        is_ragged = min(lengths) + 1 < self._longest
        self.mask = (places <= self._ends[:, None])[:, None, None] if is_ragged else None

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: object, **_: object
    ) -> tuple[Tensor, Tensor]:
        """Write (rows, heads, 1, width) where `aim` said; all keys and values of these rows."""
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        keys[self._rows, :, self._ends] = key_states[:, :, 0]
        values[self._rows, :, self._ends] = value_states[:, :, 0]
        rows = len(self._rows)
        return keys[:rows, :, : self._longest], values[:rows, :, : self._longest]

    def _make_room(self, length: int, like: Sequence[Cache] | None) -> None:
        if length <= self._capacity:
            return
        self._capacity = -(-length // SPARE_TOKENS) * SPARE_TOKENS
        if not self._keys and like is not None:
            self._keys = [self._new(layer.keys) for layer in like]  # type: ignore[attr-defined]
            self._values = [self._new(layer.values) for layer in like]  # type: ignore[attr-defined]
            return
        self._keys = [self._longer(old) for old in self._keys]
        self._values = [self._longer(old) for old in self._values]

    def _new(self, like: Tensor) -> Tensor:
        # Zeros, not whatever lies there: a masked value still counts, zero times, and NaN would
        # stay. Memory that is never touched is never taken.
        return like.new_zeros(self._max_rows, like.shape[1], self._capacity, like.shape[3])

    def _longer(self, old: Tensor) -> Tensor:
        new = self._new(old)
        new[:, :, : old.shape[2]] = old
        return new
