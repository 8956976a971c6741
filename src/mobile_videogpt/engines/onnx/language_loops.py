"""The exported language model run as compiled loops, a few tokens at a time.

ONNX Runtime calls an operator at a time and reads 4-bit weights at half the speed of the memory;
here a token is one call, and takes little longer than reading the weights does. Several tokens, of
one cache or of many, take that once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobile_videogpt.engines.memory import forget_array
from mobile_videogpt.engines.onnx.key_value_cache import KeyValueCache
from mobile_videogpt.engines.onnx.language_graph import FILE
from mobile_videogpt.engines.onnx.stored_graph import Matrix, StoredLanguageModel
from mobile_videogpt.engines.team import Member, run_together
from mobile_videogpt.models.scan_kernel import has_numba

# A smaller model's token takes a millisecond anyhow, and loading the loops a good part of a second.
WORTHWHILE_BYTES = 1 << 24
AT_ONCE = 32  # tokens; what lies between two products of them stays in the cache


def open_loops(folder: Path) -> LanguageLoops | None:
    """Those for an exported folder; None where they do not apply or are not worth it."""
    data = folder / (FILE + ".data")
    if not data.is_file() or data.stat().st_size < WORTHWHILE_BYTES or not _work():
        return None
    model = StoredLanguageModel.read(folder / FILE)
    return LanguageLoops(model) if model is not None and _fit(model) else None


def _fit(model: StoredLanguageModel) -> bool:
    """Whether rows are made of whole vectors, and heads side by side are as wide as the model."""
    from mobile_videogpt.engines.loops.int4 import BLOCK, BYTES, ROWS
    from mobile_videogpt.models.scan_kernel import LANES

    *inner, _ = model.matrices
    queries = inner[0].outputs - 2 * model.heads * model.width
    return (
        all(m.width % (2 * BYTES) == 0 and m.outputs % ROWS == 0 for m in model.matrices)
        and all(matrix.bias is not None for matrix in inner[::4])
        and all(_scales_in_vector(matrix) for matrix in model.matrices)
        and len({matrix.block for matrix in inner}) == 1
        and inner[2].outputs % (2 * BLOCK) == 0
        and queries == inner[0].width
        and model.width % LANES == 0
    )


class LanguageLoops:
    """Reads tokens into caches, and tells what follows; see `LanguageGraph`.

    Args:
        model: whose sizes fit.
    """

    def __init__(self, model: StoredLanguageModel) -> None:
        self._stored = model  # keeps the file mapped
        self.heads, self.width, self.layers = model.heads, model.width, model.layers
        self.vocabulary = model.matrices[-1].outputs
        self._outputs = [matrix.outputs for matrix in model.matrices[:4]]
        self._inner = model.matrices[3].width
        self._group = self._outputs[0] // (self.width * self.heads) - 2
        # Tuples tell the compiler a number by their type.
        first, last = (_scales_in_vector(model.matrices[i]) for i in (0, -1))
        counts = (first, self._group, self.width, last)
        self._model = (
            np.array([_address(matrix) for matrix in model.matrices], np.int64),
            model.norms,
            np.stack([m.bias for m in model.matrices[:-1:4] if m.bias is not None]),
            np.float32(model.epsilon),
            np.float32(self.width**-0.5),
            *((0,) * count for count in counts),
        )

    def forget(self) -> None:
        """Let the weights' pages go until the next token is read."""
        for matrix in self._stored.matrices:
            forget_array(matrix.weights)
            forget_array(matrix.scales)

    def read(
        self, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray, wanted: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """As `LanguageGraph.read`."""
        places = range(cache.length, cache.length + len(embeds))
        tokens = list(zip([cache] * len(embeds), places, strict=True))
        parts = []
        for first in range(0, len(embeds), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            asked = max(0, min(first + AT_ONCE, len(embeds)) - max(first, len(embeds) - wanted))
            parts.append(self._read(tokens[some], embeds[some], positions[some], asked))
        cache.length += len(embeds)
        logits, states = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
        return logits, states if self._stored.is_coarse else None

    def read_each(
        self, caches: Sequence[KeyValueCache], embeds: np.ndarray, positions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read one token into each cache; what follows each of them, as `read` tells it."""
        tokens = [(cache, cache.length) for cache in caches]
        logits, states = self._read(tokens, embeds, positions, len(tokens))
        for extended in caches:
            extended.length += 1
        return logits, states if self._stored.is_coarse else None

    def _read(
        self,
        tokens: Sequence[tuple[KeyValueCache, int]],
        embeds: np.ndarray,
        positions: np.ndarray,
        wanted: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read tokens into rows of caches; logits (wanted, V) and states (wanted, E)."""
        from mobile_videogpt.engines.loops.qwen2 import read_tokens

        threads = torch.get_num_threads()
        shared = self._shared(threads, embeds.astype(np.float32))
        turns = np.stack([self._stored.cosines[positions], self._stored.sines[positions]], 1)
        homes = np.array([(c.values.ctypes.data, c.capacity) for c, _ in tokens], np.int64)
        places = np.array([place for _, place in tokens], np.int64)
        logits = np.empty((wanted, self.vocabulary), np.float32)

        def work(member: Member) -> None:
            scores = np.empty((self._group, places.max() // member.size + 2), np.float32)
            whose = member.rank, member.size, self._model, shared, scores
            read_tokens(*whose, turns, homes, places, logits)

        run_together(work)
        states = shared[1]
        return logits, states[len(states) - wanted :]

    def _shared(self, threads: int, hidden: np.ndarray) -> tuple[Any, ...]:
        """What the threads make for one another, as `read_tokens` takes it."""
        tokens, size = hidden.shape
        return (
            np.zeros(1, np.int64),
            hidden,
            np.empty((tokens, size), np.float32),
            _rounded_rows(tokens, size),
            *(np.empty((tokens, outputs), np.float32) for outputs in self._outputs[:3]),
            np.empty((threads, tokens, self._group * self.heads, self.width + 2), np.float32),
            _rounded_rows(tokens, self._inner),
        )


def _address(matrix: Matrix) -> tuple[int, int, int]:
    from mobile_videogpt.engines.loops.int4 import BYTES

    weights, scales = matrix.weights.ctypes.data, matrix.scales.ctypes.data
    return weights, scales, matrix.width // (2 * BYTES)


def _scales_in_vector(matrix: Matrix) -> int:
    """0 where a scale is shared by more than one vector."""
    from mobile_videogpt.engines.loops.int4 import BYTES

    return 2 * BYTES // matrix.block


def _rounded_rows(count: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Room for what `round_row` makes."""
    return (
        np.empty((count, width), np.int8),
        np.empty((count, width // 8), np.int32),
        np.empty((count, width // 8), np.float32),
    )


@cache
def _work() -> bool:
    """Whether the loops compile here, for a processor that has their instructions."""
    if not has_numba():
        return False
    try:
        return _multiplies()
    except Exception:  # whatever keeps them from compiling, ONNX Runtime remains
        return False


def _multiplies() -> bool:
    """Whether the product of a small matrix is right."""
    from mobile_videogpt.engines.loops.int4 import (
        BLOCK,
        BYTES,
        ROWS,
        instructions,
        multiply,
        round_row,
    )

    if instructions() is None:
        return False
    width, blocks = 2 * BYTES, 2 * BYTES // BLOCK
    matrix = Matrix(
        weights=np.full((ROWS, blocks, BLOCK // 2), 0xA9, np.uint8),  # 1 and 2 by turns
        scales=np.full(ROWS * blocks, 0.5, np.float32),
        bias=None,
        width=width,
    )
    rows, out = _rounded_rows(5, width), np.empty((5, ROWS), np.float32)
    for row in range(5):
        round_row(np.ones(width, np.float32), rows, row, 0, blocks)
    multiply(np.array(_address(matrix)), rows, out, 0, ROWS, (0,) * blocks)
    return bool(np.allclose(out, 0.75 * width))
