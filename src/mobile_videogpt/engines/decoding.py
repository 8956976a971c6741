"""Token after token: how the next one is chosen, and when an answer ends; every engine's."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Sequence
from typing import Any

import numpy as np
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from mobile_videogpt.engines.base import GenerationOptions, Stopwatch


def generate_ids(
    next_id: Callable[[Sequence[int]], int],
    token_ids: Sequence[int],
    max_new_tokens: int,
    end_token_ids: Container[int],
    watch: Stopwatch,
) -> Generator[int, None, None]:
    """Yield the ids that continue `token_ids`, up to and without the end token.

    Only the model's own time is measured, not what the consumer does between two tokens.

    Args:
        next_id: reads these ids after all earlier ones and chooses what follows.
        token_ids: the question.
        max_new_tokens: of the answer.
        end_token_ids: any of them ends it.
        watch: receives the seconds of reading the question and of decoding.
    """
    with watch.measure("prefill"):
        token = next_id(token_ids)
    for position in range(max_new_tokens):
        if token in end_token_ids:
            return
        yield token
        if position + 1 < max_new_tokens:
            with watch.measure("decode_tokens"):
                token = next_id([token])


class TokenChooser:
    """The next token from logits: transformers' processors, then the likeliest or a draw."""

    def __init__(self, options: GenerationOptions, defaults: Any, device: torch.device) -> None:
        # Only what was generated: the released inference hides the prompt from the processors too.
        self._seen: dict[int, None] = {}  # in order
        self._options = options
        self._device = device
        penalty = options.repetition_penalty
        if penalty is None:
            # The checkpoint's own: released Qwen2.5 models are meant to be run with one.
            penalty = getattr(defaults, "repetition_penalty", None) or 1.0
        self._penalty = penalty
        self._processors = LogitsProcessorList()
        if options.do_sample:
            self._processors.append(TemperatureLogitsWarper(options.temperature))
            if options.top_k is not None:
                self._processors.append(TopKLogitsWarper(options.top_k))
            if options.top_p is not None:
                self._processors.append(TopPLogitsWarper(options.top_p))
        # Drawn on the CPU, so that a seed means the same on every device.
        self._generator = torch.Generator()
        if options.seed is not None:
            self._generator.manual_seed(options.seed)
        else:
            self._generator.seed()

    @torch.inference_mode()
    def __call__(self, logits: torch.Tensor) -> int:
        """Choose from (1, V) logits; the choice counts as seen from then on.

        The logits may be changed.
        """
        logits = logits.float()
        self._penalise(logits)
        guide = self._options.guide
        if guide is not None:
            guide.restrict(logits)
        token = self._draw(logits) if self._options.do_sample else _likeliest(logits)
        if guide is not None:
            guide.accept(token)
        self._seen[token] = None
        return token

    def _penalise(self, logits: torch.Tensor) -> None:
        """transformers' repetition penalty, in place, on the few tokens that it concerns.

        Its own processor copies all logits; on a CPU it would take as long as choosing.
        """
        if self._penalty == 1.0 or not self._seen:
            return
        is_numpy = logits.device.type == "cpu"
        row: Any = logits[0].numpy() if is_numpy else logits[0]
        where: Any = np.where if is_numpy else torch.where
        seen = list(self._seen)
        few = row[seen]
        row[seen] = where(few < 0, few * self._penalty, few / self._penalty)

    def _draw(self, logits: torch.Tensor) -> int:
        seen = torch.empty((1, 0), dtype=torch.long, device=self._device)  # read by none of these
        probabilities = self._processors(seen, logits).softmax(-1)[0].cpu()
        return int(torch.multinomial(probabilities, 1, generator=self._generator))


def _likeliest(logits: torch.Tensor) -> int:
    # One core finds it in less time than torch needs to ask a second one, whose thread would then
    # stand in the way of the engine's own.
    return int(logits[0].numpy().argmax() if logits.device.type == "cpu" else logits.argmax(-1))
