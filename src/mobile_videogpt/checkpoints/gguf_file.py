"""Writing the language model as GGUF, the one-file format of llama.cpp.

Tensors are read, quantised and written one at a time. Matrices take the chosen type; norms and
biases, which are small and sensitive, stay float32. Afterwards the file is read back and compared
with the weights.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mobile_videogpt.checkpoints.errors import CheckpointError
from mobile_videogpt.checkpoints.gguf_vocabulary import add_vocabulary
from mobile_videogpt.checkpoints.language_model import LanguageModel

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

_ARCHITECTURE = "qwen2"
_EMBEDDING, _HEAD = "token_embd.weight", "output.weight"


@dataclass(frozen=True)
class GgufType:
    """How a file of one kind stores its matrices."""

    file_type: str
    """Its name in ``gguf.LlamaFileType``."""
    matrices: str
    """A name of ``gguf.GGMLQuantizationType``."""
    head: str
    """The same for the embedding and the head: their errors reach the logits unsoftened."""
    tolerance: float
    """Largest relative error of a tensor (root of mean squares) that the check accepts; the
    measured ones of weights in a bell curve are about half of it."""


GGUF_TYPES = {
    "f32": GgufType("ALL_F32", "F32", "F32", 0.0),
    "bf16": GgufType("MOSTLY_BF16", "BF16", "BF16", 4e-3),
    "f16": GgufType("MOSTLY_F16", "F16", "F16", 1e-3),
    "q8_0": GgufType("MOSTLY_Q8_0", "Q8_0", "Q8_0", 1.2e-2),
    "q4_0": GgufType("MOSTLY_Q4_0", "Q4_0", "Q8_0", 0.2),
}


@dataclass(frozen=True)
class GgufReport:
    """What was written, and how far it is from the weights."""

    path: Path
    num_bytes: int
    tensors: dict[str, int]
    """Type of ggml -> number of tensors stored in it."""
    errors: dict[str, float]
    """Type of ggml -> largest relative error (root of mean squares) of a tensor stored in it."""


def write_gguf(model: LanguageModel, path: Path, kind: str = "f16") -> GgufReport:
    """Write a file that llama.cpp loads, and check it against the weights.

    Args:
        model: what to write.
        path: a new file; it appears when it is complete and checked, or not at all.
        kind: a name of ``GGUF_TYPES``.

    Raises:
        CheckpointError: unknown ``kind``, a file at ``path``, a model that GGUF has no words for,
            the package gguf is missing, or the file differs from the weights.
    """
    if kind not in GGUF_TYPES:
        names = ", ".join(GGUF_TYPES)
        raise CheckpointError(f"GGUF type {kind!r} is unknown; choose one of {names}.")
    if path.exists():
        raise CheckpointError(f"{path} exists already; give a new file name.")
    _require_gguf()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        _write(model, partial, kind)
        report = _check(model, partial, kind)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return GgufReport(path, path.stat().st_size, *report)


def _write(model: LanguageModel, path: Path, kind: str) -> None:
    from gguf import GGUFWriter, LlamaFileType
    from gguf.quants import quant_shape_to_byte_shape, quantize

    writer = GGUFWriter(path, _ARCHITECTURE)
    try:
        writer.add_file_type(LlamaFileType[GGUF_TYPES[kind].file_type])
        _add_sizes(writer, model)
        add_vocabulary(writer, model)
        plan = list(_plan(model, GGUF_TYPES[kind]))
        for source, name, stored in plan:
            size = quant_shape_to_byte_shape(model.tensors[source].shape, stored)
            writer.add_tensor_info(name, size, np.dtype(np.uint8), math.prod(size), stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for source, _, stored in plan:
            writer.write_tensor_data(quantize(_values(model, source), stored).view(np.uint8))
    finally:
        writer.close()


def _plan(model: LanguageModel, kind: GgufType) -> Iterator[tuple[str, str, GGMLQuantizationType]]:
    """Our name, GGUF's name and the type of every tensor."""
    from gguf import (
        GGML_QUANT_SIZES,
        MODEL_ARCH,
        GGMLQuantizationType,
        get_tensor_name_map,
    )

    names = get_tensor_name_map(MODEL_ARCH.QWEN2, model.config.num_hidden_layers)
    for source, lazy in model.tensors.items():
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise CheckpointError(f"GGUF has no name for {source} in a Qwen2 model.")
        stored = GGMLQuantizationType.F32
        if len(lazy.shape) > 1:
            chosen = kind.head if name in (_EMBEDDING, _HEAD) else kind.matrices
            stored = GGMLQuantizationType[chosen]
            # A row is made of whole blocks; where it is not, llama.cpp's converter does the same.
            if lazy.shape[-1] % GGML_QUANT_SIZES[stored][0]:
                stored = GGMLQuantizationType.F16
        yield source, name, stored


def _add_sizes(writer: GGUFWriter, model: LanguageModel) -> None:
    from gguf import GGML_QUANT_VERSION

    config = model.config
    rope = config.rope_parameters
    if rope.get("rope_type", "default") != "default" or config.use_sliding_window:
        raise CheckpointError(
            f"A language model with rope_type {rope.get('rope_type')!r} and sliding window "
            f"{config.use_sliding_window} is not written as GGUF; only Qwen2.5's plain positions "
            "and full attention are."
        )
    writer.add_type("model")
    writer.add_name(f"Language model of {model.name}")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_quantization_version(GGML_QUANT_VERSION)


def _check(model: LanguageModel, path: Path, kind: str) -> tuple[dict[str, int], dict[str, float]]:
    """Read the file back; numbers of tensors and largest errors per type.

    Raises:
        CheckpointError: naming a tensor that is further from the weights than the type explains.
    """
    from gguf import GGUFReader
    from gguf.quants import dequantize

    tolerance = GGUF_TYPES[kind].tolerance
    written = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    counts: dict[str, int] = {}
    errors: dict[str, float] = {}
    for source, name, stored in _plan(model, GGUF_TYPES[kind]):
        values = dequantize(written[name].data, written[name].tensor_type)
        error = _relative_error(values, _values(model, source))
        if not error <= tolerance:
            raise CheckpointError(
                f"The tensor {name} in {stored.name} differs from its weights by {error:.2g}, but "
                f"at most {tolerance:.2g} is expected; choose a finer type."
            )
        counts[stored.name] = counts.get(stored.name, 0) + 1
        errors[stored.name] = max(errors.get(stored.name, 0.0), error)
    return counts, errors


def _relative_error(read: np.ndarray, wanted: np.ndarray) -> float:
    """Root of the mean squared difference, relative to the weights' own."""
    size = float(np.linalg.norm(wanted))
    difference = float(np.linalg.norm(read.reshape(wanted.shape) - wanted))
    return difference / size if size else difference


def _values(model: LanguageModel, name: str) -> np.ndarray:
    return model.tensors[name].load().detach().to(torch.float32).contiguous().numpy()


def _require_gguf() -> None:
    if importlib.util.find_spec("gguf") is None:
        raise CheckpointError(
            "GGUF needs the package gguf, which is not installed; "
            "pip install 'mobile-videogpt[export]'."
        )
