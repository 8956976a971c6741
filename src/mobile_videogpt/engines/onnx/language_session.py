"""Runs the exported language model: fills a cache, reads one token after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobile_videogpt.engines.onnx.key_value_cache import SLACK, KeyValueCache
from mobile_videogpt.engines.onnx.language_model import cache_names
from mobile_videogpt.engines.onnx.manifest import EMBEDDINGS
from mobile_videogpt.engines.onnx.sessions import open_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Tokens read at once: enough for the matrices to be fast, few enough that what lies between two of
# them stays in the cache, and that attention scores take little memory.
CHUNK = 512


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
        shapes = {tensor.name: tensor.shape for tensor in self._session.get_inputs()}
        self._past = [name for name in shapes if name.startswith("past.")]
        _, self._heads, _, self._width = shapes[self._past[0]]
        self.vocabulary = {t.name: t.shape for t in self._session.get_outputs()}["logits"][1]

    @property
    def has_prefill(self) -> bool:
        """Whether prompts are read by a graph of their own."""
        return self._prefill is not None

    def new_cache(self, tokens: int) -> KeyValueCache:
        """An empty cache with room for `tokens` and an ordinary question."""
        return KeyValueCache(len(self._past), self._heads, self._width, tokens + SLACK)

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
        session = self._prefill or self._session
        for start in range(0, len(embeds), CHUNK):
            part = slice(start, start + CHUNK)
            self._run(session, cache, embeds[part], positions[part])

    def logits(
        self, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray, wanted: int = 1
    ) -> np.ndarray:
        """Read tokens into the cache; (wanted, V) logits of what follows the last ones of them."""
        before = len(embeds) - wanted
        if before and (self._prefill is not None or before > CHUNK):
            self.fill(cache, embeds[:before], positions[:before])
            embeds, positions = embeds[before:], positions[before:]
        output = self._run(self._session, cache, embeds, positions, wanted)
        assert output is not None
        return output

    def _run(
        self,
        session: InferenceSession,
        cache: KeyValueCache,
        embeds: np.ndarray,
        positions: np.ndarray,
        wanted: int = 1,
    ) -> np.ndarray | None:
        """One call of the runtime; logits where the graph makes them."""
        count = len(embeds)
        total = cache.length + count
        assert total <= cache.capacity, "the cache has no room for these tokens"
        binding = session.io_binding()
        inputs = {
            "inputs_embeds": np.ascontiguousarray(embeds, np.float32),
            "positions": np.ascontiguousarray(positions[None], np.int64),
            "last_index": np.array([total - 1], np.int32),
            "total_length": np.array(total, np.int32),
        }
        output = None
        if session is self._session:
            inputs["first_logit"] = np.array([count - wanted], np.int64)
            output = np.empty((wanted, self.vocabulary), np.float32)
            _bind(binding.bind_output, "logits", output)
        for name, array in inputs.items():
            _bind(binding.bind_input, name, array)
        present = cache_names("present", len(self._past) // 2)
        for tensor, past, now in zip(cache.values, self._past, present, strict=True):
            _bind(binding.bind_input, past, tensor)
            _bind(binding.bind_output, now, tensor)  # the same memory: written in place
        session.run_with_iobinding(binding)
        cache.length = total
        return output


def _bind(bind: Any, name: str, array: Any) -> None:
    bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
