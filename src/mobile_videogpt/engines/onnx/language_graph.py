"""The exported language model's own graph, run by ONNX Runtime: any tokens in, logits out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mobile_videogpt.engines.memory import forget_file
from mobile_videogpt.engines.onnx.attention import cache_names
from mobile_videogpt.engines.onnx.key_value_cache import KeyValueCache
from mobile_videogpt.engines.onnx.sessions import open_session

FILE = "language_model.onnx"


class LanguageGraph:
    """Reads tokens into a cache, and tells what follows the last ones.

    Args:
        folder: of the export.
        threads: as for `open_session`.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self._session = open_session(folder / FILE, threads)
        forget_file(FILE)  # of its weights the session has packed copies
        sizes = {tensor.name: tensor.shape for tensor in self._session.get_inputs()}
        names = [name for name in sizes if name.startswith("past.")]
        self.width: int = sizes[names[0]][1]
        """Of a head."""
        self.heads = 1 + max(int(name.rpartition(".")[2]) for name in names)
        """Of keys, and of values."""
        self.layers = len(names) // (2 * self.heads)
        outputs = {tensor.name: tensor.shape for tensor in self._session.get_outputs()}
        self.vocabulary: int = outputs["logits"][1]
        self._has_states = "states" in outputs
        self._rows = [cache_names(kind, self.layers, self.heads) for kind in ("past", "present")]

    def read(
        self, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray, wanted: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """One call of the graph: it reads all rows of the cache and writes the new ones.

        Args:
            cache: with room for them.
            embeds: (L, E) float32.
            positions: (L,) int64.
            wanted: for how many of the last ones what follows is asked.

        Returns:
            logits (wanted, V); the states (wanted, E) that they were made of, where the output
            matrix is coarse.
        """
        count = len(embeds)
        binding = self._session.io_binding()
        small = bind_inputs(
            binding,
            inputs_embeds=np.ascontiguousarray(embeds, np.float32),
            positions=np.ascontiguousarray(positions[None], np.int64),
            first_logit=np.array([count - wanted], np.int64),
        )
        logits = np.empty((wanted, self.vocabulary), np.float32)
        bind(binding.bind_output, "logits", logits)
        states = None
        if self._has_states:
            states = np.empty((wanted, embeds.shape[1]), np.float32)
            bind(binding.bind_output, "states", states)
        row = self.width * cache.values.itemsize
        start = cache.values.ctypes.data
        total, new = (cache.length + count, self.width), (count, self.width)
        for past, present in zip(*self._rows, strict=True):
            shape = new if ".value." in present else (count, 1, self.width)
            binding.bind_input(past, "cpu", 0, np.float32, total, start)
            binding.bind_output(present, "cpu", 0, np.float32, shape, start + cache.length * row)
            start += cache.capacity * row
        self._session.run_with_iobinding(binding)
        del small
        cache.length += count
        return logits, states


def bind_inputs(binding: Any, **arrays: np.ndarray) -> list[np.ndarray]:
    """Bind arrays by name; they are returned because they must live as long as the call."""
    for name, array in arrays.items():
        bind(binding.bind_input, name, array)
    return list(arrays.values())


def bind(bind_to: Any, name: str, array: np.ndarray) -> None:
    """Bind an array as an input or an output."""
    bind_to(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
