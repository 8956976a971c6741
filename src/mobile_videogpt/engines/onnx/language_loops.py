"""The exported language model run as compiled loops, one token after another.

ONNX Runtime calls an operator at a time and reads 4-bit weights at half the speed of the memory;
here a token is one call, and takes little longer than reading the weights does.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobile_videogpt.engines.onnx.key_value_cache import KeyValueCache
from mobile_videogpt.engines.onnx.language_graph import FILE
from mobile_videogpt.engines.onnx.stored_graph import Matrix, StoredLanguageModel
from mobile_videogpt.engines.team import Member, run_together
from mobile_videogpt.models.scan_kernel import has_numba

# A smaller model's token takes a millisecond anyhow, and loading the loops a good part of a second.
WORTHWHILE_BYTES = 1 << 24


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
    """Reads tokens into a cache, and tells what follows the last ones; see `LanguageGraph`.

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
        counts = [_scales_in_vector(model.matrices[i]) for i in (0, -1)]
        counts += [self._group, self.width]
        self._model = (
            np.array([_address(matrix) for matrix in model.matrices], np.int64),
            model.norms,
            np.stack([m.bias for m in model.matrices[:-1:4] if m.bias is not None]),
            np.float32(model.epsilon),
            np.float32(self.width**-0.5),
            *((0,) * count for count in counts),
        )

    def read(
        self, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray, wanted: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """As `LanguageGraph.read`."""
        logits = np.empty((wanted, self.vocabulary), np.float32)
        states = np.empty((wanted, embeds.shape[1]), np.float32)
        nothing = logits[0, :0]
        first = len(embeds) - wanted
        for number, (embed, position) in enumerate(zip(embeds, positions, strict=True)):
            is_wanted = number >= first
            state = self._read_one(
                cache, embed, int(position), logits[number - first] if is_wanted else nothing
            )
            if is_wanted:
                states[number - first] = state
        return logits, states if self._stored.is_coarse else None

    def _read_one(
        self, cache: KeyValueCache, embed: np.ndarray, position: int, logits: np.ndarray
    ) -> np.ndarray:
        """Read one token; the last layer's normed state (E)."""
        from mobile_videogpt.engines.loops.qwen2 import read_token

        threads = torch.get_num_threads()
        shared = self._shared(threads)
        hidden = np.repeat(embed.astype(np.float32)[None], threads, axis=0)
        turns = self._stored.cosines[position], self._stored.sines[position]
        place = cache.length

        def work(member: Member) -> None:
            size = hidden.shape[1]
            scores = np.empty((self._group, place // threads + 2), np.float32)
            own = np.empty(size, np.float32), _rounded_row(size), scores
            whose = member.rank, member.size, self._model, shared, own
            read_token(*whose, hidden[member.rank], *turns, cache.values, place, logits)

        run_together(work)
        cache.length += 1
        return hidden[0]

    def _shared(self, threads: int) -> tuple[Any, ...]:
        """What threads make for one another, as `read_token` takes it."""
        return (
            np.zeros(1, np.int64),
            *(np.empty(size, np.float32) for size in self._outputs[:3]),
            np.empty((threads, self._group * self.heads, self.width + 2), np.float32),
            _rounded_row(self._inner),
        )


def _address(matrix: Matrix) -> tuple[int, int, int]:
    from mobile_videogpt.engines.loops.int4 import BYTES

    weights, scales = matrix.weights.ctypes.data, matrix.scales.ctypes.data
    return weights, scales, matrix.width // (2 * BYTES)


def _scales_in_vector(matrix: Matrix) -> int:
    """0 where a scale is shared by more than one vector."""
    from mobile_videogpt.engines.loops.int4 import BYTES

    return 2 * BYTES // matrix.block


def _rounded_row(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Room for what `round_row` makes."""
    from mobile_videogpt.engines.loops.int4 import BYTES, LANES

    vectors = width // (2 * BYTES)
    return (
        np.empty(vectors * 2 * BYTES, np.int8),
        np.empty(vectors * LANES, np.int32),
        np.empty(vectors * LANES, np.float32),
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
    row, out = _rounded_row(width), np.empty(ROWS, np.float32)
    round_row(np.ones(width, np.float32), row, 0, blocks)
    multiply(np.array(_address(matrix)), row, out, 0, ROWS, (0,) * blocks)
    return bool(np.allclose(out, 0.75 * width))
