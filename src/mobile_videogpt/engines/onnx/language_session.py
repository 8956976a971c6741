"""Runs the exported language model: fills a cache, reads one token after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobile_videogpt.engines.memory import forget_file
from mobile_videogpt.engines.onnx.attention import cache_names
from mobile_videogpt.engines.onnx.contenders import sharpen
from mobile_videogpt.engines.onnx.key_value_cache import SLACK, KeyValueCache
from mobile_videogpt.engines.onnx.manifest import EMBEDDINGS
from mobile_videogpt.engines.onnx.sessions import frugal_run, open_session

# Tokens read at once: enough for the matrices to be fast, few enough that what lies between two of
# them stays in the cache, and that attention scores take little memory.
CHUNK = 128


class LanguageSession:
    """The language model of an exported folder.

    Args:
        folder: with `language_model.onnx`, `embeddings.npy` and perhaps `prefill.onnx`, which
            reads many tokens faster and gives no logits.
        threads: as for `open_session`.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self._table = np.load(folder / EMBEDDINGS, mmap_mode="r")  # (V, E)
        self._session = open_session(folder / "language_model.onnx", threads)
        prefill = folder / "prefill.onnx"
        self._prefill = open_session(prefill, threads) if prefill.is_file() else None
        # Of the files' weights the sessions have packed copies.
        forget_file("language_model.onnx")
        forget_file("prefill.onnx")
        sizes = {tensor.name: tensor.shape for tensor in self._session.get_inputs()}
        names = [name for name in sizes if name.startswith("past.")]
        self._width = sizes[names[0]][1]
        self._heads = 1 + max(int(name.rpartition(".")[2]) for name in names)
        layers = len(names) // (2 * self._heads)
        kinds = ("past", "present")
        self._by_head = [cache_names(kind, layers, self._heads) for kind in kinds]
        self._whole = [cache_names(kind, layers) for kind in kinds]
        outputs = {tensor.name: tensor.shape for tensor in self._session.get_outputs()}
        self.vocabulary = outputs["logits"][1]
        self._has_states = "states" in outputs

    @property
    def has_prefill(self) -> bool:
        """Whether prompts are read by a graph of their own."""
        return self._prefill is not None

    def new_cache(self, tokens: int) -> KeyValueCache:
        """An empty cache with room for `tokens` and an ordinary question."""
        return KeyValueCache(len(self._whole[0]), self._heads, self._width, tokens + SLACK)

    def embed(self, token_ids: Sequence[int]) -> np.ndarray:
        """The tokens' embeddings, (L, E) float32, from the table on disk."""
        return self._table[np.asarray(token_ids, dtype=np.int64)].astype(np.float32)

    def fill(self, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray) -> None:
        """Read tokens into the cache; nobody asks what follows them.

        Args:
            cache: with room for them.
            embeds: (L, E) float32.
            positions: (L,) int64.
        """
        assert cache.length + len(embeds) <= cache.capacity, "the cache has no room for these"
        for start in range(0, len(embeds), CHUNK):
            part = slice(start, start + CHUNK)
            if self._prefill is None:
                self._run(cache, embeds[part], positions[part], wanted=1)
            else:
                is_last = start + CHUNK >= len(embeds)
                self._run_prefill(cache, embeds[part], positions[part], is_last)

    def logits(
        self,
        cache: KeyValueCache,
        embeds: np.ndarray,
        positions: np.ndarray,
        wanted: int = 1,
        certain: Sequence[int] = (),
    ) -> np.ndarray:
        """Read tokens into the cache; (wanted, V) logits of what follows the last ones of them.

        Where the output matrix is coarse, the largest logits and those of the tokens `certain` are
        made again.
        """
        before = len(embeds) - wanted
        if before and (self._prefill is not None or before > CHUNK):
            self.fill(cache, embeds[:before], positions[:before])
            embeds, positions = embeds[before:], positions[before:]
        assert cache.length + len(embeds) <= cache.capacity, "the cache has no room for these"
        logits, states = self._run(cache, embeds, positions, wanted)
        if states is not None:
            sharpen(logits, states, self._table, certain)
        return logits

    def _run_prefill(
        self, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray, is_last: bool
    ) -> None:
        """One call of the graph that writes into the cache it is given."""
        assert self._prefill is not None
        total = cache.length + len(embeds)
        binding = self._prefill.io_binding()
        small = _bind_inputs(
            binding,
            inputs_embeds=np.ascontiguousarray(embeds, np.float32),
            positions=np.ascontiguousarray(positions[None], np.int64),
            last_index=np.array([total - 1], np.int32),
            total_length=np.array(total, np.int32),
        )
        for past, present, tensor in zip(*self._whole, cache.values, strict=True):
            _bind(binding.bind_input, past, tensor, tensor.shape)
            _bind(binding.bind_output, present, tensor, tensor.shape)
        self._prefill.run_with_iobinding(binding, frugal_run() if is_last else None)
        del small  # had to live until here
        cache.length = total

    def _run(
        self, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray, wanted: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """One call of the graph that makes logits: it reads all rows and writes the new ones."""
        count = len(embeds)
        binding = self._session.io_binding()
        small = _bind_inputs(
            binding,
            inputs_embeds=np.ascontiguousarray(embeds, np.float32),
            positions=np.ascontiguousarray(positions[None], np.int64),
            first_logit=np.array([count - wanted], np.int64),
        )
        logits = np.empty((wanted, self.vocabulary), np.float32)
        _bind(binding.bind_output, "logits", logits, logits.shape)
        states = None
        if self._has_states:
            states = np.empty((wanted, embeds.shape[1]), np.float32)
            _bind(binding.bind_output, "states", states, states.shape)
        row = self._width * cache.values.itemsize
        start = cache.values.ctypes.data
        total, new = (cache.length + count, self._width), (count, self._width)
        for past, present in zip(*self._by_head, strict=True):
            shape = new if ".value." in present else (count, 1, self._width)
            binding.bind_input(past, "cpu", 0, np.float32, total, start)
            binding.bind_output(present, "cpu", 0, np.float32, shape, start + cache.length * row)
            start += cache.capacity * row
        self._session.run_with_iobinding(binding)
        del small
        cache.length += count
        return logits, states


def _bind_inputs(binding: Any, **arrays: np.ndarray) -> list[np.ndarray]:
    """Bind arrays by name; they are returned because they must live as long as the call."""
    for name, array in arrays.items():
        _bind(binding.bind_input, name, array, array.shape)
    return list(arrays.values())


def _bind(bind: Any, name: str, array: np.ndarray, shape: Any) -> None:
    bind(name, "cpu", 0, array.dtype, shape, array.ctypes.data)
