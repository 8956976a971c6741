"""JSON of a schema, kept to token by token with llguidance.

It needs a vocabulary that can spell JSON. Some schemas of a few hundred bytes take hours to make a
grammar of, and nothing else runs in the process meanwhile: that is done in another one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import torch

from mobile_videogpt.serving.decoding.pool import bare_environment
from mobile_videogpt.serving.errors import ApiError, bad_request

_COMPILER = "mobile_videogpt.serving.schema_compiler"
_COMPILE_S = 5.0
_PREPARE_S = 1.0


class JsonGuides:
    """Guides of answers to JSON, for one tokenizer.

    Args:
        tokenizer: the model's.
        vocabulary: how many logits the model gives, which may be more than there are tokens.
    """

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._prepared: Any = None
        self._compilers = threading.BoundedSemaphore(2)

    def grammar(self, schema: Mapping[str, Any]) -> str:
        """A schema in the form that guides are made of.

        Raises:
            ApiError: the schema is not valid or not supported, or the model cannot spell JSON.
        """
        if self._prepared is None:
            self._prepared = self._prepare()
        try:
            with self._compilers:
                done = subprocess.run(
                    [sys.executable, "-m", _COMPILER],
                    input=json.dumps(schema).encode(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=bare_environment(),
                    timeout=_COMPILE_S,
                )
            said = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, OSError, ValueError):
            raise _too_complex() from None
        if said["error"]:
            reason = " ".join(said["error"].split())[:300]
            raise bad_request(f"the schema cannot be followed: {reason}", "response_format")
        return str(said["grammar"])

    def guide(self, grammar: str) -> JsonGuide:
        """A guide for one answer, with its first step prepared, which takes the longest.

        Raises:
            ApiError: a step takes so long that other clients would wait for it.
        """
        from llguidance import LLMatcher

        before = time.thread_time()
        guide = JsonGuide(LLMatcher(self._prepared, grammar), self._vocabulary)
        guide.prepare()
        if time.thread_time() - before > _PREPARE_S:
            raise _too_complex()
        return guide

    def _prepare(self) -> Any:
        spelled = self._tokenizer('{"a":[1]}', add_special_tokens=False)["input_ids"]
        if self._tokenizer.unk_token_id in spelled and self._tokenizer.unk_token_id is not None:
            raise bad_request(
                "this model's vocabulary cannot spell JSON: give choices, or a schema whose values "
                "are enumerations, truth values or constants",
                "response_format",
            )
        try:
            from llguidance.hf import from_tokenizer
        except ImportError:
            raise ApiError(
                501, "this server lacks the package llguidance, which JSON schemas need"
            ) from None
        return from_tokenizer(self._tokenizer, n_vocab=self._vocabulary)


class JsonGuide:
    """Keeps one answer to a grammar; see `engines.base.TokenGuide`."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        from llguidance.torch import allocate_token_bitmask

        self._matcher = matcher
        self._is_prepared = False
        self._mask = allocate_token_bitmask(1, vocabulary)

    def prepare(self) -> None:
        """Find out what may come next."""
        from llguidance.torch import fill_next_token_bitmask

        if not self._is_prepared:
            fill_next_token_bitmask(self._matcher, self._mask)
            self._is_prepared = True

    def restrict(self, logits: torch.Tensor) -> None:
        """Rule out what the grammar does."""
        from llguidance.torch import apply_token_bitmask_inplace

        self.prepare()
        apply_token_bitmask_inplace(logits, self._mask.to(logits.device))

    def accept(self, token_id: int) -> None:
        """Note what came next."""
        self._is_prepared = False
        self._matcher.consume_token(token_id)


def _too_complex() -> ApiError:
    return bad_request(
        "the schema takes too long to work with: make it simpler, with fewer fields and patterns",
        "response_format",
    )
