"""The exported language model in llama.cpp, fed with embeddings as well as with token ids.

A thin wrapper around the package llama-cpp-python (optional). It runs no video: the visual tokens
come from a `VideoChat`, which knows the prompt too (`VideoChat.prompt_embeds`).
"""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

# Positions that llama.cpp is handed at once; it computes them 512 at a time.
_BATCH = 2048
_PROBE = """
import sys, torch
from mobile_videogpt.engines.gguf_model import GgufLanguageModel
model = GgufLanguageModel(sys.argv[1], context=64, is_repacked=True)
model.read_embeds(torch.zeros(33, model.width))
"""


class GgufLanguageModel:
    """A GGUF file, loaded on the CPU, and one sequence that it has read so far.

    Args:
        path: what `mobile-videogpt export --format gguf` wrote.
        context: most positions that the sequence may have; None: what the model was trained with,
            at most 4096.
        threads: CPU threads; None takes as many as this process may use.
        is_repacked: whether llama.cpp keeps its own, faster layout of the weights; None: if that
            works.

    Raises:
        ModuleNotFoundError: llama-cpp-python is not installed.
        ValueError: llama.cpp cannot load the file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        context: int | None = None,
        threads: int | None = None,
        is_repacked: bool | None = None,
    ) -> None:
        self._model = self._context = None
        self._llama = llama = _import_llama_cpp()
        if not Path(path).is_file():
            raise ValueError(f"there is no file {path}; give one that export --format gguf wrote")
        llama.llama_backend_init()
        self._model = self._load(os.fspath(path), is_repacked)
        context = context or min(4096, llama.llama_model_n_ctx_train(self._model))
        settings = llama.llama_context_default_params()
        settings.n_ctx = context
        settings.n_batch = min(_BATCH, context)
        self.threads = threads or _usable_cores()
        settings.n_threads = settings.n_threads_batch = self.threads
        self._context = llama.llama_init_from_model(self._model, settings)
        if not self._context:
            raise ValueError(f"llama.cpp has no memory for {context} positions; give a smaller one")
        self.context = context
        self.width: int = llama.llama_model_n_embd(self._model)
        """E, of an embedding."""
        self.vocab_size: int = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model))
        self.length = 0
        """Positions read so far."""

    def _load(self, path: str, is_repacked: bool | None) -> Any:
        options = self._llama.llama_model_default_params()
        options.n_gpu_layers = 0
        self.is_repacked = _repacking_works(path) if is_repacked is None else is_repacked
        options.use_extra_bufts = self.is_repacked
        model = self._llama.llama_model_load_from_file(os.fsencode(path), options)
        if not model:
            raise ValueError(f"llama.cpp cannot load {path}; is it a complete GGUF file?")
        return model

    def read_embeds(self, embeds: torch.Tensor) -> np.ndarray:
        """Read embeddings after what was read before.

        Args:
            embeds: (L, E): text embedded with the model's own table, visual tokens as they are.

        Returns:
            The logits of what follows the last one, (V,) in float32.
        """
        rows = np.ascontiguousarray(embeds.detach().float().cpu().numpy())
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ValueError(f"embeds are {rows.shape}; they must be (length, {self.width})")
        return self._read(rows)

    def read_tokens(self, token_ids: Sequence[int]) -> np.ndarray:
        """Read token ids after what was read before; the logits of what follows, (V,)."""
        return self._read(np.asarray(token_ids, dtype=np.int32))

    def generate(
        self, logits: np.ndarray, max_new_tokens: int, end_token_ids: Collection[int] = ()
    ) -> Iterator[int]:
        """Yield the likeliest ids that follow, up to and without one that ends the answer.

        Args:
            logits: (V,), of `read_embeds` or `read_tokens`.
            max_new_tokens: longest answer.
            end_token_ids: `VideoChat.end_token_ids`.
        """
        for position in range(max_new_tokens):
            token = int(logits.argmax())
            if token in end_token_ids:
                return
            yield token
            if position + 1 < max_new_tokens:
                logits = self.read_tokens([token])

    def rewind(self, length: int = 0) -> None:
        """Forget what was read after the first `length` positions: another question, same video."""
        if not 0 <= length <= self.length:
            raise ValueError(f"length is {length}, but {self.length} positions were read")
        memory = self._llama.llama_get_memory(self._context)
        self._llama.llama_memory_seq_rm(memory, 0, length, -1)
        self.length = length

    def close(self) -> None:
        """Give the memory back."""
        context, self._context = self._context, None
        model, self._model = self._model, None
        if context:
            self._llama.llama_free(context)
        if model:
            self._llama.llama_model_free(model)

    def __enter__(self) -> GgufLanguageModel:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """Rows (L, E) of embeddings or (L,) of token ids, in batches; logits after the last."""
        if not len(rows):
            raise ValueError("there is nothing to read; give at least one token")
        if self.length + len(rows) > self.context:
            raise ValueError(
                f"{self.length} positions and {len(rows)} more do not fit a context of "
                f"{self.context}; give a larger one"
            )
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            self._decode(part, is_last=start + len(part) == len(rows))
        address = self._llama.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(address, shape=(self.vocab_size,)).copy()

    def _decode(self, rows: np.ndarray, is_last: bool) -> None:
        """Hand one batch to llama.cpp; logits of its last row only, if at all."""
        llama, number = self._llama, len(rows)
        batch = llama.llama_batch_init(number, self.width if rows.ndim == 2 else 0, 1)
        try:
            batch.n_tokens = number
            target = batch.embd if rows.ndim == 2 else batch.token
            ctypes.memmove(target, rows.ctypes.data, rows.nbytes)
            for index in range(number):
                batch.pos[index] = self.length + index
                batch.n_seq_id[index] = 1
                batch.seq_id[index][0] = 0
                batch.logits[index] = is_last and index == number - 1
            code = llama.llama_decode(self._context, batch)
        finally:
            llama.llama_batch_free(batch)
        if code:
            raise RuntimeError(f"llama.cpp could not read {number} positions (code {code})")
        self.length += number


def _import_llama_cpp() -> Any:
    try:
        import llama_cpp
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "the package llama-cpp-python is not installed; pip install llama-cpp-python "
            "(it is compiled, which takes a C++ compiler and some minutes)"
        ) from None
    _send_log_here(llama_cpp)
    return llama_cpp


@cache
def _send_log_here(llama: Any) -> Any:
    """Let llama.cpp's lines go through `logging`; returns what must not be collected."""

    @llama.llama_log_callback
    def log(level: int, text: bytes, user_data: Any) -> None:
        logger.debug(text.decode("utf-8", "replace").rstrip())

    llama.llama_log_set(log, ctypes.c_void_p(0))
    return log


@cache
def _repacking_works(path: str) -> bool:
    """Whether llama.cpp may keep weights in the layout that this processor likes best.

    GCC 12 drops the stores of AMX's tile configuration as dead (`_tile_loadconfig`); what it made
    of llama.cpp ends the process at the first quantised matrix product of several rows
    (ggml-org/llama.cpp issue 20824). So another process tries it first, where AMX was compiled in.
    """
    llama = _import_llama_cpp()
    if b"AMX_INT8 = 1" not in llama.llama_print_system_info():
        return True
    command = (sys.executable, "-c", _PROBE, path)
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return True
    logger.warning(
        "this build of llama.cpp crashes in its AMX kernels, so it runs without its packed "
        "layouts, more slowly; docs/export.md says how to build it"
    )
    return False


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
