"""Merging a LoRA adapter into its base: ``W + scale * B A``, tensor by tensor while loading."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mobile_videogpt.checkpoints.errors import CheckpointError, name_some
from mobile_videogpt.checkpoints.files import LazyTensor, open_tensors, with_names
from mobile_videogpt.checkpoints.names import from_released

ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_NON_LORA_FILE = "non_lora_trainables.bin"
_OUR_PARTS = (
    "image_encoder.",
    "video_encoder.",
    "image_projector.",
    "video_projector.",
    "language_model.",
)


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Return ``adapter_config.json``.

    Raises:
        CheckpointError: if the adapter is not plain LoRA.
    """
    raw = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    if raw.get("peft_type", "LORA") != "LORA" or raw.get("use_dora"):
        kind = "DoRA" if raw.get("use_dora") else raw.get("peft_type")
        raise CheckpointError(
            f"The adapter in {folder} is {kind}, but only plain LoRA can be merged; merge it with "
            "PEFT first."
        )
    return raw


def merge_adapter(base: Mapping[str, LazyTensor], folder: Path) -> dict[str, LazyTensor]:
    """Return the base with the adapter merged in and its fully trained tensors in place.

    Args:
        base: tensors under our names.
        folder: ``adapter_config.json``, ``adapter_model.safetensors`` (or ``.bin``) and, from the
            released training, ``non_lora_trainables.bin``; names in the released layout or ours.

    Raises:
        CheckpointError: if a matrix has no partner or does not fit the base.
    """
    config = read_adapter_config(folder)
    given = _open_adapter(folder)
    low_rank = {name: tensor for name, tensor in given.items() if ".lora_" in name}
    merged = {**base, **{n: t for n, t in given.items() if n not in low_rank}}
    for target, (a, b) in _pairs(low_rank).items():
        weight = base.get(target)
        if weight is None or weight.shape != (b.shape[0], a.shape[1]):
            have = "nothing" if weight is None else f"shape {weight.shape}"
            raise CheckpointError(
                f"The adapter changes {target} by a matrix of shape {(b.shape[0], a.shape[1])}, "
                f"but the base has {have} there; give the base model the adapter was trained on."
            )
        merged[target] = _merged(weight, a, b, _scale(config, target, a.shape[0]))
    return merged


def _open_adapter(folder: Path) -> dict[str, LazyTensor]:
    file = next((folder / name for name in _ADAPTER_FILES if (folder / name).is_file()), None)
    if file is None:
        raise CheckpointError(
            f"The adapter folder {folder} holds no weights; it needs {_ADAPTER_FILES[0]}."
        )
    tensors = open_tensors(file)
    if (folder / _NON_LORA_FILE).is_file():
        tensors.update(open_tensors(folder / _NON_LORA_FILE))
    names = [_plain_name(name) for name in tensors]
    tensors = with_names(tensors, names)
    ours = {name: t for name, t in tensors.items() if name.startswith(_OUR_PARTS)}
    released = {name: t for name, t in tensors.items() if name not in ours}
    return {**from_released(released), **ours}


def _plain_name(name: str) -> str:
    """Drop what PEFT puts around names."""
    name = name.removeprefix("base_model.model.")
    for wrapper in (".default.", ".modules_to_save.", ".base_layer."):
        name = name.replace(wrapper, ".")
    return name


def _pairs(low_rank: Mapping[str, LazyTensor]) -> dict[str, tuple[LazyTensor, LazyTensor]]:
    halves: dict[str, dict[str, LazyTensor]] = {}
    for name, tensor in low_rank.items():
        module, _, half = name.removesuffix(".weight").rpartition(".lora_")
        halves.setdefault(f"{module}.weight", {})[half] = tensor
    incomplete = [target for target, pair in halves.items() if pair.keys() != {"A", "B"}]
    if incomplete:
        raise CheckpointError(
            f"The adapter lacks one of the matrices A and B for {name_some(incomplete)}; "
            "the file is incomplete."
        )
    return {target: (pair["A"], pair["B"]) for target, pair in halves.items()}


def _scale(config: Mapping[str, Any], target: str, rank: int) -> float:
    module = target.removesuffix(".weight")
    alpha = config.get("lora_alpha", rank)
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if module.endswith(pattern):
            alpha = value
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _merged(weight: LazyTensor, a: LazyTensor, b: LazyTensor, scale: float) -> LazyTensor:
    def load() -> Tensor:
        base = weight.load()
        # Summed in float32: in half precision a small update would be rounded away.
        return (base.float() + scale * (b.load().float() @ a.load().float())).to(base.dtype)

    return LazyTensor(weight.shape, load)
