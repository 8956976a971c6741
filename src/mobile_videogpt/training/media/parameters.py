"""Which parameters train in each kind of stage, by pattern; everything else is frozen."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..files import write_json
from .recipe import MediaStage

logger = logging.getLogger(__name__)

PROJECTORS = ("image_projector", "video_projector")
PARTS = ("image_encoder", "video_encoder", *PROJECTORS, "language_model")
# What PEFT puts in front of our names, and around the modules that it trains whole.
_PEFT = r"(base_model\.model\.)?"
_WHOLE = r"(modules_to_save\.\w+\.)?"
PATTERNS: dict[str, tuple[str, ...]] = {
    "image_projector": (rf"{_PEFT}image_projector\.{_WHOLE}.*",),
    "video_projector": (rf"{_PEFT}video_projector\.{_WHOLE}.*",),
    "instruct": (
        rf"{_PEFT}image_projector\.{_WHOLE}.*",
        rf"{_PEFT}video_projector\.{_WHOLE}.*",
        rf"{_PEFT}language_model\.model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj\.lora_[AB]\..*",
    ),
}
# LoRA on q, k, v, o, gate, up and down of the language model, as in the released scripts.
LORA_TARGETS = r".*language_model\.model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj"


def choose_trainable(model: nn.Module, stage: MediaStage) -> nn.Module:
    """Freeze all but what the stage trains; `instruct` wraps the model in PEFT's LoRA."""
    model.requires_grad_(False)
    if stage.kind == "instruct":
        return _with_lora(model, stage)
    getattr(model, stage.kind).requires_grad_(True)
    return model


def _with_lora(model: nn.Module, stage: MediaStage) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    adapter = LoraConfig(
        r=stage.lora_rank,
        lora_alpha=stage.lora_alpha,
        lora_dropout=stage.lora_dropout,
        bias="none",
        target_modules=LORA_TARGETS,
        modules_to_save=list(PROJECTORS),
    )
    return get_peft_model(model, adapter)  # type: ignore[arg-type]


def trainable_names(model: nn.Module, kind: str) -> list[str]:
    """Names of the parameters that train, checked against the patterns of the kind of stage.

    Raises:
        ValueError: if something trains that the kind does not name.
    """
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    patterns = [re.compile(pattern) for pattern in PATTERNS[kind]]
    strangers = [n for n in names if not any(p.fullmatch(n) for p in patterns)]
    if strangers:
        raise ValueError(f"{strangers[0]} trains, which {kind} does not allow: freeze it.")
    return names


def freeze_dtype(model: nn.Module, dtype: torch.dtype) -> None:
    """Keep frozen weights in `dtype`; what trains stays in float32."""
    for weight in model.parameters():
        if not weight.requires_grad and weight.is_floating_point():
            weight.data = weight.data.to(dtype)


def parameter_groups(
    named: Mapping[str, nn.Parameter], rate: float, projector_rate: float | None
) -> list[dict[str, Any]]:
    """Optimiser groups: the projectors at a rate of their own if there is one."""
    weights = {name: weight for name, weight in named.items() if weight.requires_grad}
    if projector_rate is None:
        return [{"params": list(weights.values()), "lr": rate}]
    is_projector = {name: any(part in name for part in PROJECTORS) for name in weights}
    groups = [
        {"params": [w for n, w in weights.items() if not is_projector[n]], "lr": rate},
        {"params": [w for n, w in weights.items() if is_projector[n]], "lr": projector_rate},
    ]
    return [group for group in groups if group["params"]]


def count_parameters(model: nn.Module) -> dict[str, dict[str, int]]:
    """Part -> {"trained", "frozen"}; LoRA is a part of its own, copies that PEFT keeps are none."""
    counts = {part: {"trained": 0, "frozen": 0} for part in (*PARTS, "lora")}
    for name, weight in model.named_parameters():
        if ".original_module." in name:
            continue
        part = "lora" if ".lora_" in name else next(p for p in PARTS if p in name)
        counts[part]["trained" if weight.requires_grad else "frozen"] += weight.numel()
    return {part: count for part, count in counts.items() if sum(count.values())}


def report_trainable(model: nn.Module, stage: MediaStage, folder: Path) -> list[str]:
    """Print what trains and write it to `folder/trainable.json`; returns the names."""
    names, counts = trainable_names(model, stage.kind), count_parameters(model)
    for part, count in counts.items():
        logger.info(
            "%s: %-16s %13s trained %13s frozen",
            stage.name,
            part,
            f"{count['trained']:,}",
            f"{count['frozen']:,}",
        )
    patterns = PATTERNS[stage.kind]
    write_json(
        folder / "trainable.json",
        {"kind": stage.kind, "patterns": patterns, "parameters": counts, "names": names},
        indent=1,
    )
    return names
