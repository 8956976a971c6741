"""Answers that the ONNX engine decodes side by side: each in a cache of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from torch import Tensor

from mobile_videogpt.engines.base import Prefix
from mobile_videogpt.engines.onnx.key_value_cache import KeyValueCache
from mobile_videogpt.engines.onnx_engine import OnnxEngine


@dataclass(frozen=True)
class _Reading:
    """One answer's cache, which is given back when `release` is closed."""

    cache: KeyValueCache
    gap: int
    release: ExitStack


class OnnxReadings:
    """See `batching.Readings`.

    Args:
        engine: one whose `reads_together` is true.
    """

    def __init__(self, engine: OnnxEngine) -> None:
        self._engine = engine
        self._readings: list[_Reading] = []

    def begin(self, prefix: Prefix, token_ids: Sequence[int], max_new_tokens: int) -> Tensor:
        """Read a question; its answer has the next place. Logits of what follows, (1, V)."""
        with ExitStack() as stack:
            room = len(token_ids) + max_new_tokens
            cache = stack.enter_context(prefix.state.continued(room))
            logits = self._engine.read_question(token_ids, cache, prefix.gap)
            self._readings.append(_Reading(cache, prefix.gap, stack.pop_all()))
        return logits

    def read(self, token_ids: Sequence[int]) -> Tensor:
        """Read the latest token of every answer; what follows each, (answers, 1, V)."""
        ends = [(reading.cache, reading.gap) for reading in self._readings]
        return self._engine.read_each(token_ids, ends)[:, None]

    def end(self, place: int) -> None:
        """Let an answer go; the last one takes its place."""
        self._readings[place].release.close()
        self._readings[place] = self._readings[-1]
        self._readings.pop()
