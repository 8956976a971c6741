"""The torch engine's key-value cache: memory is taken once, a token is written into its place.

transformers' `DynamicCache` makes new tensors of everything for each token; with a video in the
prompt that is more to copy than a layer's weights are to read. It is a transformers cache all the
same, so that any language model of theirs can be run with it.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

SPARE_TOKENS = 256  # room that is taken along when a cache must grow


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer: `keys` and `values` are views of larger buffers.

    Args:
        capacity: tokens that there is to be room for from the start.
    """

    def __init__(self, capacity: int = 0) -> None:
        super().__init__()
        self._capacity = capacity
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (B, heads, L, D) each; returns views of all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        keys, values = self._room_for(start + key_states.shape[-2], key_states, value_states)
        keys[:, :, start:].copy_(key_states)
        values[:, :, start:].copy_(value_states)
        self.keys, self.values = keys, values
        return keys, values

    def _room_for(
        self, length: int, like_keys: torch.Tensor, like_values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Views of `length` tokens, which begin with what is there already."""
        if self._buffers is None or length > self._capacity:
            if length > self._capacity:
                self._capacity = length + SPARE_TOKENS
            batch, heads = like_keys.shape[:2]
            start = self.get_seq_length()
            made = []
            for like, old in ((like_keys, self.keys), (like_values, self.values)):
                new = like.new_empty(batch, heads, self._capacity, like.shape[-1])
                if start and old is not None:
                    new[:, :, :start].copy_(old)
                made.append(new)
            self._buffers = (made[0], made[1])
        keys, values = self._buffers
        return keys[:, :, :length], values[:, :, :length]


def new_cache(layers: int, capacity: int = 0) -> Cache:
    """An empty cache with room for `capacity` tokens."""
    return Cache(layers=[RoomyLayer(capacity) for _ in range(layers)])


def cache_bytes(cache: Cache, more: int = 0) -> int:
    """What one row's keys and values take, `more` tokens included."""
    tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
    each = sum(tensor[0, :, 0].numel() * tensor.element_size() for tensor in tensors)
    return each * (cache.get_seq_length() + more)


def fork_cache(cache: Cache, room: int, batch: int = 1) -> Cache:
    """A cache that continues `cache`, which stays as it is.

    Args:
        cache: keys and values of one row.
        room: tokens that will be added.
        batch: rows that continue it.
    """
    forked = new_cache(len(cache.layers), cache.get_seq_length() + room)
    for index, layer in enumerate(cache.layers):
        keys, values = (x.expand(batch, -1, -1, -1) for x in (layer.keys, layer.values))
        forked.update(keys, values, index)
    return forked
