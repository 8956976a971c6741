"""QLoRA: the frozen linear layers of the language model in 4 bits (bitsandbytes, CUDA).

Only what LoRA adapts is quantised: embeddings, projectors and encoders stay as they are. Merging
takes the base's own weights, so nothing is lost to the 4 bits but what training saw.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import Any

import torch
from torch import nn

from ..recipe import RecipeError
from .parameters import LORA_TARGETS


def require_qlora() -> None:
    """Raise `RecipeError` with what is missing for QLoRA, if anything is."""
    if not torch.cuda.is_available():
        raise RecipeError("QLoRA needs a CUDA device, and there is none: leave --qlora out.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise RecipeError(
            "QLoRA needs the package bitsandbytes: pip install 'mobile-videogpt[qlora]'"
        )


def quantize_language_model(model: nn.Module) -> None:
    """Put 4-bit layers (NF4, double quantisation) in the place of those that LoRA adapts.

    They take their final form when the model moves to the GPU.
    """
    require_qlora()
    bnb: Any = importlib.import_module("bitsandbytes")
    compute = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    pattern = re.compile(LORA_TARGETS)
    chosen = [name for name, _ in model.named_modules() if pattern.fullmatch(f".{name}")]
    for name in chosen:
        linear = model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        small = bnb.nn.Linear4bit(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            compute_dtype=compute,
            compress_statistics=True,
            quant_type="nf4",
        )
        small.weight = bnb.nn.Params4bit(
            linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True
        )
        small.bias = linear.bias
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, small)
    model.is_loaded_in_4bit = True  # type: ignore[assignment]  # PEFT asks for it
