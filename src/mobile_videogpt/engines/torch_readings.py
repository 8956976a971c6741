"""Answers that the torch engine decodes side by side: their keys and values in one tensor.

They stand in one tensor per layer, as long as the longest answer; what a shorter one lacks is
masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import Cache

from mobile_videogpt.engines.base import Prefix
from mobile_videogpt.engines.kv_cache import SPARE_TOKENS
from mobile_videogpt.engines.qwen2 import Qwen2Runner
from mobile_videogpt.engines.torch_engine import TorchEngine


@dataclass
class _Length:
    """How far an answer has come."""

    rows: int
    """Of keys and values."""
    gap: int
    """Positions that merged tokens left empty."""


class TorchReadings:
    """See `batching.Readings`.

    Args:
        engine: one whose `runs_by_hand` is true.
        max_rows: answers at a time; memory is used for as many as there are.
    """

    def __init__(self, engine: TorchEngine, max_rows: int) -> None:
        self._engine = engine
        self._runner = _BatchRunner(engine.model.language_model)
        self._slots = _Slots(max_rows)
        self._lengths: list[_Length] = []

    def begin(self, prefix: Prefix, token_ids: Sequence[int], max_new_tokens: int) -> Tensor:
        """Read a question; its answer has the next place. Logits of what follows, (1, V)."""
        cache, logits = self._engine.read_question(prefix, token_ids)
        if max_new_tokens > 1:
            self._slots.fill(len(self._lengths), cache)
        self._lengths.append(_Length(len(prefix.token_ids) + len(token_ids), prefix.gap))
        return logits

    def read(self, token_ids: Sequence[int]) -> Tensor:
        """Read the latest token of every answer; what follows each, (answers, 1, V)."""
        tokens = torch.tensor(token_ids)[:, None]
        places = torch.tensor([[length.rows + length.gap] for length in self._lengths])
        embeds = self._engine.model.get_input_embeddings()(tokens)  # (answers, 1, E)
        self._slots.aim([length.rows for length in self._lengths])
        self._runner.mask = self._slots.mask
        logits = self._runner.read(embeds, self._slots, places, "last")
        for length in self._lengths:
            length.rows += 1
        return logits

    def end(self, place: int) -> None:
        """Let an answer go; the last one takes its place."""
        last = len(self._lengths) - 1
        moved = self._lengths.pop()
        if place != last:
            self._slots.move(last, place, moved.rows)
            self._lengths[place] = moved


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
