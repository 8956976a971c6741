"""The exported prefill graph on processors with matrix units for bfloat16.

ONNX Runtime multiplies bytes there at a fifth of what the units do, and its attention is float32.
Here every matrix is widened to bfloat16 when its turn comes, a layer at a time, and PyTorch
multiplies: the weights are those of the graph, activations are rounded less than to its 8 bits.
Loops that numba compiled do what lies between two products, in the threads that also multiply.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mobile_videogpt.engines.base import Pause, go_on, in_pieces
from mobile_videogpt.engines.devices import has_bfloat16_units
from mobile_videogpt.engines.memory import forget_array, give_memory_back
from mobile_videogpt.engines.onnx.key_value_cache import KeyValueCache
from mobile_videogpt.engines.onnx.stored_graph import StoredPrefill
from mobile_videogpt.engines.team import Member, run_together
from mobile_videogpt.models.scan_kernel import has_numba

# Rows of a product: many, because each call of it rearranges the matrix once more.
ROWS_AT_ONCE = 640
# Widening the weights takes as long as ONNX Runtime does for some two hundred tokens.
FEWEST_TOKENS = 384
LAYERS_AT_ONCE = 2  # between two pauses, where somebody wants them
WORTHWHILE_BYTES = 1 << 24


def open_prompt_reader(path: Path) -> PromptReader | None:
    """That for an exported prefill graph; None where it does not apply or is not worth it."""
    data = path.with_name(path.name + ".data")
    if not data.is_file() or data.stat().st_size < WORTHWHILE_BYTES or not has_bfloat16_units():
        return None
    model = StoredPrefill.read(path)
    return PromptReader(model) if model is not None and has_numba() else None


class PromptReader:
    """Reads tokens into a cache; nobody asks what follows them.

    Args:
        model: what the graph holds.
    """

    def __init__(self, model: StoredPrefill) -> None:
        self._model = model

    def read(
        self, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray, pause: Pause = None
    ) -> None:
        """Read tokens into the cache, which has room for them.

        Args:
            cache: as many rows longer afterwards.
            embeds: (L, E) float32.
            positions: (L,) int64.
            pause: called every few layers.
        """
        run = _Pass(self._model, cache, embeds, positions)
        for layers in in_pieces(self._model.layers, LAYERS_AT_ONCE, pause or go_on):
            run_together(partial(run.work, layers=layers))
            for matrix in self._model.matrices[4 * layers.start : 4 * layers.stop]:
                forget_array(matrix.levels)  # all of them would be much memory beside the others
        cache.length += len(embeds)
        del run
        give_memory_back()


class _Pass:
    """One call of a reader: what its threads share."""

    def __init__(
        self, model: StoredPrefill, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray
    ) -> None:
        self._model, self._cache = model, cache
        self._start, length = cache.length, len(embeds)
        self._hidden = np.array(embeds, np.float32)
        self._turns = model.cosines[positions], model.sines[positions]
        self._heads = model.query_heads
        self._queries = _empty(self._heads, length, model.width)
        rows = (model.heads, self._start + length, model.width)
        self._keys, self._values = _empty(*rows), _empty(*rows)
        self._attended = _empty(length, self._heads * model.width)
        # One matrix of each kind: the next layer's take the place of this one's.
        self._weights = [_empty(*matrix.levels.shape) for matrix in model.matrices[:4]]

    @property
    def _caches(self) -> tuple[np.ndarray, np.ndarray]:
        first = 2 * self._layer
        return self._cache.values[first, 0], self._cache.values[first + 1, 0]

    def work(self, member: Member, layers: slice) -> None:
        """What one thread does for some layers."""
        model = self._model
        rows = member.share(len(self._hidden))
        room = _Room(model)
        for layer in range(layers.start, layers.stop):
            if member.rank == 0:
                self._layer = layer
            member.meet()
            self._widen(member, layer)
            member.meet()
            for some in _parts(rows):
                self._enter(layer, some, room)
            member.meet()
            if layer + 1 == model.layers:
                return  # its keys and values are in the cache
            self._attend(member)
            member.meet()
            for some in _parts(rows):
                self._leave(layer, some, room)

    def _widen(self, member: Member, layer: int) -> None:
        """This thread's share of the layer's matrices, and of what the cache held before."""
        loops, first = _loops(), 4 * layer
        for matrix, widened in zip(
            self._model.matrices[first : first + 4], self._weights, strict=False
        ):
            share = member.share(len(matrix.levels))
            loops.widen_rows(matrix.levels, matrix.scales, _array(widened), share.start, share.stop)
        share = member.share(self._start)
        for whole, narrow in zip(self._caches, (self._keys, self._values), strict=True):
            loops.copy_rows(whole, _array(narrow), share.start, share.stop)

    def _enter(self, layer: int, rows: slice, room: _Room) -> None:
        """Norm, and queries, keys and values of some tokens."""
        loops, model, count = _loops(), self._model, rows.stop - rows.start
        normed = room.normed[:count]
        loops.rms_norm(self._hidden[rows], model.norms[2 * layer], model.epsilon, _array(normed))
        product = torch.mm(normed, self._weights[0], out=room.packed[:count])
        where = _array(self._queries), self._caches, (_array(self._keys), _array(self._values))
        bias = model.biases[layer]
        loops.take_apart(_array(product), bias, *self._turns, *where, rows.start, self._start)

    def _attend(self, member: Member) -> None:
        """This thread's share of the heads of queries."""
        length, width = self._queries.shape[1:]
        group = self._heads // self._model.heads
        mask = None
        if self._start:
            mask = torch.ones(length, self._start + length, dtype=torch.bool).tril(self._start)
        for head in member.share(self._heads):
            attended = F.scaled_dot_product_attention(
                self._queries[None, None, head],
                self._keys[None, None, head // group],
                self._values[None, None, head // group],
                attn_mask=mask,
                is_causal=mask is None,
            )
            self._attended[:, head * width : (head + 1) * width] = attended[0, 0]

    def _leave(self, layer: int, rows: slice, room: _Room) -> None:
        """Output projection and MLP of some tokens, added to the residual stream."""
        loops, model, count = _loops(), self._model, rows.stop - rows.start
        hidden, normed = self._hidden[rows], room.normed[:count]
        _, out, both, down = self._weights
        loops.add_rows(hidden, _array(torch.mm(self._attended[rows], out, out=room.added[:count])))
        loops.rms_norm(hidden, model.norms[2 * layer + 1], model.epsilon, _array(normed))
        product = torch.mm(normed, both, out=room.both[:count])
        loops.gate_rows(_array(product), _array(room.gated[:count]))
        loops.add_rows(hidden, _array(torch.mm(room.gated[:count], down, out=room.added[:count])))


class _Room:
    """One thread's memory: fresh memory for each product would cost as much as the product."""

    def __init__(self, model: StoredPrefill) -> None:
        packed, _, both, down = (matrix.levels.shape for matrix in model.matrices[:4])
        self.normed = _empty(ROWS_AT_ONCE, packed[0])
        self.packed = _empty(ROWS_AT_ONCE, packed[1])
        self.both = _empty(ROWS_AT_ONCE, both[1])
        self.gated = _empty(ROWS_AT_ONCE, down[0])
        self.added = _empty(ROWS_AT_ONCE, down[1])


def _parts(rows: range) -> Iterator[slice]:
    for first in range(rows.start, rows.stop, ROWS_AT_ONCE):
        yield slice(first, min(first + ROWS_AT_ONCE, rows.stop))


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bfloat16)


def _array(tensor: Tensor) -> np.ndarray:
    """As numba takes it: bfloat16 as integers of its size."""
    return tensor.view(torch.int16).numpy()


class _Loops:
    """All loops of a pass by name."""

    def __init__(self) -> None:
        from mobile_videogpt.engines.loops import prompt, rows

        self.rms_norm, self.add_rows = rows.rms_norm, rows.add_rows
        self.widen_rows, self.copy_rows = prompt.widen_rows, prompt.copy_rows
        self.take_apart, self.gate_rows = prompt.take_apart, prompt.gate_rows


@cache
def _loops() -> Any:
    return _Loops()
