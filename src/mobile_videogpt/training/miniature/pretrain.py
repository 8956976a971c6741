"""Stage 0 of the miniature: how each part is trained, measured on unseen clips, and saved."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ...config import MobileVideoGPTConfig
from ...synthetic.vocabulary import build_tokenizer
from ..recipe import Recipe, Stage
from ..trainer import train_stage
from .clips import ClipCache
from .dense_vision import (
    ClipIndex,
    ImageCollator,
    ImagePretraining,
    VideoCollator,
    VideoPretraining,
    accuracies,
)
from .packing import QuestionPacker, segment_correct
from .scene_language import SceneDataset, SceneLanguageModel, collate_scenes

Measures = dict[str, float]


def clip_cache(recipe: Recipe, config: MobileVideoGPTConfig, split: str) -> ClipCache:
    """The rendered clips of a split, below the recipe's output or the run that it starts from."""
    count = recipe.train_clips if split == "train" else recipe.validation_clips
    return ClipCache((recipe.start or recipe.output) / "clips" / split, config, count, split)


def run_dense_image(recipe: Recipe, stage: Stage, folder: Path) -> Measures:
    """Pretrain the image encoder on dense patch labels."""
    config = recipe.config()
    return _run_dense(recipe, stage, folder, config, ImagePretraining(config), ImageCollator)


def run_dense_video(recipe: Recipe, stage: Stage, folder: Path) -> Measures:
    """Pretrain the video encoder on dense patch labels."""
    config = recipe.config()
    model = VideoPretraining(config, stage.attribute_weights)
    return _run_dense(recipe, stage, folder, config, model, VideoCollator)


def _run_dense(
    recipe: Recipe,
    stage: Stage,
    folder: Path,
    config: MobileVideoGPTConfig,
    model: ImagePretraining | VideoPretraining,
    collator: Any,
) -> Measures:
    samples = ClipIndex(stage.steps * stage.batch_size, recipe.train_clips, recipe.seed)
    collate = collator(clip_cache(recipe, config, "train"))
    train_stage(stage, model, samples, collate, folder, recipe.seed)
    unseen = collator(clip_cache(recipe, config, "validation"))
    batches = [unseen(list(range(start, start + 50))) for start in range(0, 500, 50)]
    measures = accuracies(model, batches)
    save_part(model.encoder, folder)  # type: ignore[arg-type]
    return measures


def run_scene_language(recipe: Recipe, stage: Stage, folder: Path) -> Measures:
    """Pretrain the language model on scene tokens."""
    config = recipe.config()
    tokenizer = build_tokenizer()
    packer = QuestionPacker(tokenizer, config.num_visual_tokens)
    model = SceneLanguageModel(config, tokenizer.convert_tokens_to_ids, stage.forget)
    samples = SceneDataset(
        config,
        packer,
        stage.steps * stage.batch_size,
        stage.questions_per_clip,
        hide=stage.hide_branch,
        per_family=stage.per_family,
    )
    collate = partial(collate_scenes, pad_id=tokenizer.pad_token_id)
    train_stage(stage, model, samples, collate, folder, recipe.seed)
    unseen = SceneDataset(config, packer, 320, stage.questions_per_clip, split="validation")
    measures = scene_accuracies(model, unseen, tokenizer.pad_token_id)
    save_part(model.language_model, folder)
    return measures


def scene_accuracies(
    model: SceneLanguageModel, dataset: SceneDataset, pad_id: int, batch_size: int = 32
) -> Measures:
    """Share of answers that greedy decoding gets exactly right, per family and form."""
    model.eval()
    results: dict[str, list[bool]] = defaultdict(list)
    for start in range(0, len(dataset), batch_size):
        samples = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
        families = [sample["row"].families for sample in samples]
        batch = collate_scenes(samples, pad_id)
        with torch.no_grad():
            logits = model(**batch)["logits"]
        for names, correct in zip(families, segment_correct(logits, batch), strict=True):
            for name, is_correct in zip(names, correct, strict=True):
                results[name].append(is_correct)
    return family_means(results)


def family_means(results: dict[str, list[bool]]) -> Measures:
    """Mean of each list, and `accuracy`: the mean over question families (not descriptions)."""
    measures = {name: float(np.mean(values)) for name, values in sorted(results.items())}
    asked = [v for name, v in measures.items() if not name.startswith(("description", "objects"))]
    return {"accuracy": float(np.mean(asked)), **measures}


def save_part(module: nn.Module, folder: Path, name: str = "model") -> None:
    """Write one trained part as safetensors."""
    save_file(
        {k: v.contiguous() for k, v in module.state_dict().items()}, folder / f"{name}.safetensors"
    )


def load_part(module: nn.Module, folder: Path, name: str = "model") -> None:
    """Read what `save_part` wrote."""
    module.load_state_dict(load_file(folder / f"{name}.safetensors"))
