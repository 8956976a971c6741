"""What a stage leaves behind, and the model that results from a base and finished stages.

A projector stage leaves `trained.safetensors`, an instruction stage a LoRA `adapter` with both
projectors; everything is loaded through the package's strict road (`checkpoints`), which also does
the merging.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ...checkpoints.files import open_tensors
from ...checkpoints.load import Checkpoint, open_checkpoint
from ...checkpoints.lora import merge_adapter
from .base_model import with_trained

TRAINED, ADAPTER = "trained.safetensors", "adapter"


def save_trained(
    model: nn.Module,
    state: Mapping[str, Tensor],
    names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    base: str | Path,
) -> None:
    """Write what trained; for the main process.

    Args:
        model: unwrapped; a PEFT model in instruction stages.
        state: its whole state dict, gathered from all processes.
        names: of what trained.
        tokenizer: saved with an adapter, which then loads by itself.
        folder: of the stage.
        base: the checkpoint under an adapter.
    """
    if hasattr(model, "peft_config"):
        _save_adapter(model, state, tokenizer, folder / ADAPTER, base)
        return
    partial = folder / f"{TRAINED}.partial"
    tensors = {name: state[name].detach().cpu().float().contiguous() for name in names}
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.replace(folder / TRAINED)


def _save_adapter(
    model: Any,
    state: Mapping[str, Tensor],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    base: str | Path,
) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    is_folder = Path(base).is_dir()
    for config in model.peft_config.values():
        config.base_model_name_or_path = str(Path(base).resolve() if is_folder else base)
        config.inference_mode = True
    model.save_pretrained(partial, state_dict=dict(state), save_embedding_layers=False)
    tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def checkpoint_after(base: str | Path, folders: Sequence[Path]) -> Checkpoint:
    """The base with what finished stages trained, in order; nothing is in memory yet."""
    checkpoint = open_checkpoint(base)
    for folder in folders:
        if (folder / ADAPTER).is_dir():
            tensors = merge_adapter(checkpoint.tensors, folder / ADAPTER)
        else:
            tensors = with_trained(checkpoint.tensors, open_tensors(folder / TRAINED))
        checkpoint = checkpoint._replace(tensors=tensors)
    return checkpoint


def whole_state(trainer: Any) -> dict[str, Tensor]:
    """The state dict of a model that may be spread over processes; to be called on all of them.

    Frozen weights are left out where they are at hand anyway.
    """
    if trainer.is_fsdp_enabled:
        gathered: dict[str, Tensor] = trainer.accelerator.get_state_dict(trainer.model)
        return gathered
    model = trainer.accelerator.unwrap_model(trainer.model)
    with torch.no_grad():
        return {name: weight.detach() for name, weight in model.state_dict().items()}
