"""Where training from media starts: a checkpoint, or one put together from public parts."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ...checkpoints.encoders import complete_encoders
from ...checkpoints.errors import CheckpointError
from ...checkpoints.files import LazyTensor, open_tensors
from ...checkpoints.hub import find_checkpoint
from ...checkpoints.load import (
    Checkpoint,
    build_model,
    load_tokenizer,
    open_checkpoint,
    tokenizer_folder,
)
from ...checkpoints.names import from_released
from ...config import PRESETS, MobileVideoGPTConfig
from ...models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from ...processor.processor import STILL_TOKEN
from ...processor.prompt import token_id
from ..files import write_json
from ..processes import process_state
from ..recipe import RecipeError
from .recipe import MediaRecipe, ModelParts

logger = logging.getLogger(__name__)


def base_checkpoint(recipe: MediaRecipe) -> str | Path:
    """The checkpoint that the first stage starts from; what is needed for it is written once.

    It is the recipe's own `model`, or `OUTPUT/base`: put together from parts, or with a placeholder
    for stills where the model's vocabulary lacks one and has room.
    """
    folder = recipe.output / "base"
    state = process_state()
    if state.is_main_process:
        _check_start(recipe)
        if not (folder / "config.json").is_file():
            _make_base(recipe, folder)
    state.wait_for_everyone()
    if (folder / "config.json").is_file():
        return folder
    assert isinstance(recipe.model, str)
    return recipe.model


def _check_start(recipe: MediaRecipe) -> None:
    """A run goes on from the model that it began with, whatever the recipe says by now.

    Raises:
        RecipeError: if the recipe names another one.
    """
    record = recipe.output / "start.json"
    parts = recipe.model
    start = {"model": asdict(parts) if isinstance(parts, ModelParts) else parts}
    if record.is_file() and json.loads(record.read_text(encoding="utf-8")) != start:
        raise RecipeError(
            f"{recipe.output} holds a run that began with another model ({record}); give another "
            "output, or remove that folder."
        )
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, start)


def _make_base(recipe: MediaRecipe, folder: Path) -> None:
    if isinstance(recipe.model, ModelParts):
        checkpoint, tokenizer = _assemble(recipe.model, recipe.path.parent, recipe.seed)
        _write(checkpoint, tokenizer, folder)
        return
    opened = open_checkpoint(recipe.model)
    tokenizer = load_tokenizer(tokenizer_folder(opened.folder))
    if add_still_token(opened.config, tokenizer):
        _write(opened, tokenizer, folder)


def add_still_token(config: MobileVideoGPTConfig, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Give a vocabulary from before stills their placeholder, if it has an unused row.

    Returns whether anything changed.
    """
    if token_id(tokenizer, STILL_TOKEN) is not None:
        return False
    if len(tokenizer) >= config.text_config.vocab_size:
        return False
    tokenizer.add_tokens([STILL_TOKEN], special_tokens=True)
    config.image_token_id = int(token_id(tokenizer, STILL_TOKEN) or 0)
    return True


def _assemble(
    parts: ModelParts, folder: Path, seed: int
) -> tuple[Checkpoint, PreTrainedTokenizerBase]:
    """A checkpoint of named parts and fresh projectors; random where that is asked for."""
    if parts.preset not in PRESETS:
        raise RecipeError(f"preset {parts.preset!r} is unknown: use {', '.join(PRESETS)}.")
    config = MobileVideoGPTConfig.preset(parts.preset)
    tensors = _named_parts(parts, folder, config)
    tokenizer = _tokenizer(parts, config)
    torch.manual_seed(seed)
    fresh = MobileVideoGPTForConditionalGeneration(config).state_dict()
    for name, tensor in fresh.items():
        is_wanted = parts.random or "_projector." in name
        if name not in tensors and is_wanted and name != "language_model.lm_head.weight":
            tensors[name] = _lazy(tensor)
    return Checkpoint(folder, config, tensors, is_released=False), tokenizer


def _named_parts(
    parts: ModelParts, folder: Path, config: MobileVideoGPTConfig
) -> dict[str, LazyTensor]:
    tensors: dict[str, LazyTensor] = {}
    if parts.language_model:
        tensors |= from_released(open_tensors(find_checkpoint(parts.language_model)))
    elif not parts.random:
        raise RecipeError("model names no language_model; name one, or set random: true.")
    if parts.image_encoder and parts.video_encoder:
        places = {
            "image_mm_vision_tower": parts.image_encoder,
            "mm_vision_tower": parts.video_encoder,
        }
        tensors, image_config = complete_encoders(tensors, places, folder)
        if image_config is not None:
            config.image_config = image_config
    elif not parts.random:
        raise RecipeError(
            "model names no image_encoder or no video_encoder; name both, or set random: true."
        )
    return tensors


def _tokenizer(parts: ModelParts, config: MobileVideoGPTConfig) -> PreTrainedTokenizerBase:
    place = parts.tokenizer or parts.language_model
    if not place and parts.preset == "moving-shapes":
        from ...synthetic.vocabulary import build_tokenizer

        return build_tokenizer()
    if not place:
        raise RecipeError("model names no tokenizer; name the folder or hub id of Qwen2.5's.")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{place} holds no tokenizer that can be loaded: {error}") from error
    if token_id(tokenizer, STILL_TOKEN) not in (None, config.image_token_id):
        raise RecipeError(f"{place} is a tokenizer of other ids than {parts.preset} has.")
    return tokenizer


def _lazy(tensor: torch.Tensor) -> LazyTensor:
    return LazyTensor(tuple(tensor.shape), lambda: tensor)


def _write(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """A whole model in our layout, or nothing."""
    write_model(build_model(checkpoint, dtype=None), tokenizer, folder)
    logger.info("wrote the model that training starts from: %s", folder)


def write_model(
    model: MobileVideoGPTForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Save model and tokenizer under a temporary name, then rename."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def with_trained(
    tensors: Mapping[str, LazyTensor], trained: Mapping[str, LazyTensor]
) -> dict[str, LazyTensor]:
    """The tensors with some of them replaced; raises `CheckpointError` for a name of no tensor."""
    strangers = sorted(set(trained) - set(tensors))
    if strangers:
        raise CheckpointError(f"{strangers[0]} was trained, but the model has no such tensor.")
    return {**tensors, **trained}
