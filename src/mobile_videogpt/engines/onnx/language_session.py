"""Runs the exported language model: fills a cache, reads one token after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobile_videogpt.engines.base import Pause, in_pieces
from mobile_videogpt.engines.memory import forget_file
from mobile_videogpt.engines.onnx.attention import cache_names
from mobile_videogpt.engines.onnx.contenders import sharpen
from mobile_videogpt.engines.onnx.key_value_cache import SLACK, KeyValueCache
from mobile_videogpt.engines.onnx.language_graph import LanguageGraph, bind, bind_inputs
from mobile_videogpt.engines.onnx.language_loops import open_loops
from mobile_videogpt.engines.onnx.manifest import EMBEDDINGS
from mobile_videogpt.engines.onnx.prompt_reader import FEWEST_TOKENS, open_prompt_reader
from mobile_videogpt.engines.onnx.sessions import frugal_run, open_session

# Tokens read at once: enough for the matrices to be fast, few enough that what lies between two of
# them stays in the cache, and that attention scores take little memory.
CHUNK = 128
TOKENS_AT_ONCE = 2 * CHUNK  # between two pauses, where somebody wants them


class LanguageSession:
    """The language model of an exported folder.

    Args:
        folder: with `language_model.onnx`, `embeddings.npy` and perhaps `prefill.onnx`, which
            reads many tokens faster and gives no logits.
        threads: as for `open_session`.
        as_loops: whether compiled loops may take the place of the graphs.
    """

    def __init__(self, folder: Path, threads: int | None = None, as_loops: bool = True) -> None:
        self._table = np.load(folder / EMBEDDINGS, mmap_mode="r")  # (V, E)
        prefill = folder / "prefill.onnx"
        self._prefill = open_session(prefill, threads) if prefill.is_file() else None
        forget_file("prefill.onnx")  # of its weights the session has packed copies
        compiled = as_loops and self._prefill is not None
        self._prompts = open_prompt_reader(prefill) if compiled else None
        # The loops read few tokens at a time: prompts need a graph of their own beside them.
        self._loops = open_loops(folder) if compiled else None
        self._reader = self._loops or LanguageGraph(folder, threads)
        self._whole = [cache_names(kind, self._reader.layers) for kind in ("past", "present")]

    @property
    def prompt_format(self) -> str | None:
        """What matrices are multiplied in while a long prompt is read; None: as its graph says."""
        return None if self._prompts is None else "bfloat16"

    @property
    def has_prefill(self) -> bool:
        """Whether prompts are read by a graph of their own."""
        return self._prefill is not None

    def new_cache(self, tokens: int) -> KeyValueCache:
        """An empty cache with room for `tokens` and an ordinary question."""
        heads, width = self._reader.heads, self._reader.width
        return KeyValueCache(len(self._whole[0]), heads, width, tokens + SLACK)

    def embed(self, token_ids: Sequence[int]) -> np.ndarray:
        """The tokens' embeddings, (L, E) float32, from the table on disk."""
        return self._table[np.asarray(token_ids, dtype=np.int64)].astype(np.float32)

    def fill(
        self, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray, pause: Pause = None
    ) -> None:
        """Read tokens into the cache; nobody asks what follows them.

        Args:
            cache: with room for them.
            embeds: (L, E) float32.
            positions: (L,) int64.
            pause: called now and then while many are read.
        """
        assert cache.length + len(embeds) <= cache.capacity, "the cache has no room for these"
        if self._prompts is not None and len(embeds) >= FEWEST_TOKENS:
            if self._loops is not None:
                self._loops.forget()  # not both models' weights at once
            self._prompts.read(cache, embeds, positions, pause)
            return
        for some in in_pieces(len(embeds), TOKENS_AT_ONCE, pause):
            self._fill_some(cache, embeds[some], positions[some])

    def _fill_some(self, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray) -> None:
        for start in range(0, len(embeds), CHUNK):
            part = slice(start, start + CHUNK)
            if self._prefill is None:
                self._reader.read(cache, embeds[part], positions[part], wanted=1)
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
        pause: Pause = None,
    ) -> np.ndarray:
        """Read tokens into the cache; (wanted, V) logits of what follows the last ones of them.

        Where the output matrix is coarse, the largest logits and those of the tokens `certain` are
        made again.
        """
        before = len(embeds) - wanted
        if before and (self._prefill is not None or before > CHUNK):
            self.fill(cache, embeds[:before], positions[:before], pause)
            embeds, positions = embeds[before:], positions[before:]
        assert cache.length + len(embeds) <= cache.capacity, "the cache has no room for these"
        logits, states = self._reader.read(cache, embeds, positions, wanted)
        if states is not None:
            sharpen(logits, states, self._table, certain)
        return logits

    @property
    def reads_together(self) -> bool:
        """Whether `logits_of_each` is possible."""
        return self._loops is not None

    def logits_of_each(
        self, caches: Sequence[KeyValueCache], embeds: np.ndarray, positions: np.ndarray
    ) -> np.ndarray:
        """Read one token into each cache; (caches, V) logits of what follows each of them."""
        assert self._loops is not None
        logits, states = self._loops.read_each(caches, embeds, positions)
        if states is not None:
            sharpen(logits, states, self._table)
        return logits

    def _run_prefill(
        self, cache: KeyValueCache, embeds: np.ndarray, positions: np.ndarray, is_last: bool
    ) -> None:
        """One call of the graph that writes into the cache it is given."""
        assert self._prefill is not None
        total = cache.length + len(embeds)
        binding = self._prefill.io_binding()
        small = bind_inputs(
            binding,
            inputs_embeds=np.ascontiguousarray(embeds, np.float32),
            positions=np.ascontiguousarray(positions[None], np.int64),
            last_index=np.array([total - 1], np.int32),
            total_length=np.array(total, np.int32),
        )
        for past, present, tensor in zip(*self._whole, cache.values, strict=True):
            bind(binding.bind_input, past, tensor)
            bind(binding.bind_output, present, tensor)
        self._prefill.run_with_iobinding(binding, frugal_run() if is_last else None)
        del small  # had to live until here
        cache.length = total
