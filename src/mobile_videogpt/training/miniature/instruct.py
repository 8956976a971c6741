"""The paper's three stages (section 4.1, appendix A.2) on the miniature.

Stage 1 trains the image projector alone, stage 2 the video projector alone, stage 3 both projectors
and LoRA on the language model; the encoders are frozen throughout and run once per clip.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from ...models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from ...synthetic.vocabulary import build_tokenizer
from ...synthetic.world import make_clip
from ..recipe import Recipe, Stage
from ..shared_prefix import collate_shared
from ..trainer import train_stage
from .curriculum import IMAGE_FAMILIES, draw_hidden_branch, draw_questions
from .dense_vision import ClipIndex
from .features import FeatureStore
from .packing import QuestionPacker, segment_correct
from .pretrain import Measures, clip_cache, family_means, load_part, save_part

logger = logging.getLogger(__name__)

# Where each finished part of the model lies: part -> the stage that writes it.
PARTS = {
    "image_encoder": "stage0-image",
    "video_encoder": "stage0-video",
    "language": "stage0-language",
    "image_projector": "stage1-image-projector",
    "video_projector": "stage2-video-projector",
}
STAGE_0 = ("image_encoder", "video_encoder", "language")
LORA_TARGETS = r".*language_model\.model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj"


class FeatureQuestions(Dataset[dict[str, Any]]):
    """Sample i: stored features of a clip, with freshly drawn questions in one packed row."""

    def __init__(
        self,
        store: FeatureStore,
        packer: QuestionPacker,
        num_samples: int,
        questions_per_clip: int,
        *,
        seed: int = 0,
        families: tuple[str, ...] = (),
        per_family: Mapping[str, int] | None = None,
        hide: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.store, self.packer = store, packer
        self.order = ClipIndex(num_samples, store.cache.num_clips, seed)
        self.questions_per_clip = questions_per_clip
        self.families, self.per_family = families, per_family
        self.hide, self.seed = hide, seed

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = self.order[index]
        rng = np.random.default_rng([self.seed, index, 2])
        clip = make_clip(number, self.store.cache.split)
        questions = draw_questions(
            clip, rng, self.questions_per_clip, self.families, self.per_family
        )
        hidden = draw_hidden_branch(self.store.cache.config, rng, *self.hide)
        return {
            "row": self.packer.pack(questions, hidden),
            "image_features": torch.from_numpy(self.store["image"][number].astype(np.float32)),
            "video_features": torch.from_numpy(self.store["video"][number].astype(np.float32)),
        }


class FeatureCollator:
    """Batches `FeatureQuestions` into what the model's `forward` takes."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = collate_shared([sample["row"] for sample in samples], self.pad_id)
        del batch["segments"]
        for name in ("image_features", "video_features"):
            batch[name] = torch.stack([sample[name] for sample in samples])
        return batch


def assemble(recipe: Recipe) -> MobileVideoGPTForConditionalGeneration:
    """The model from the parts trained so far; parts of later stages keep their fresh weights."""
    model = MobileVideoGPTForConditionalGeneration(recipe.config())
    for part, stage in PARTS.items():
        folder = (recipe.start if part in STAGE_0 else None) or recipe.output
        folder /= stage
        if (folder / "model.safetensors").exists():
            module = model.language_model.model if part == "language" else getattr(model, part)
            load_part(module, folder)
    model.tie_weights()
    return model


def feature_store(recipe: Recipe, split: str) -> FeatureStore:
    """The stored features of a split, encoded now if they are not there yet."""
    model = assemble(recipe).eval()
    cache = clip_cache(recipe, model.config, split)
    folder = recipe.features or recipe.output / "features"
    images = recipe.images and recipe.images / split
    store = FeatureStore(folder / split, cache, images)
    for progress in store.encode(model, os.cpu_count() or 1):
        logger.info("features of %s, %s", split, progress)
    return store


def run_image_projector(recipe: Recipe, stage: Stage, folder: Path) -> Measures:
    """Stage 1: only the image projector trains; the video tokens are hidden."""
    return _run_projector(recipe, stage, folder, "image_projector", (0.0, 1.0), IMAGE_FAMILIES)


def run_video_projector(recipe: Recipe, stage: Stage, folder: Path) -> Measures:
    """Stage 2: only the video projector trains; the image tokens are hidden."""
    return _run_projector(recipe, stage, folder, "video_projector", (1.0, 0.0), ())


def _run_projector(
    recipe: Recipe,
    stage: Stage,
    folder: Path,
    part: str,
    hide: tuple[float, float],
    families: tuple[str, ...],
) -> Measures:
    model, data = _prepare(recipe, stage, hide, families)
    model.requires_grad_(False)
    projector: nn.Module = getattr(model, part).requires_grad_(True)
    _train(recipe, stage, folder, model, data)
    save_part(projector, folder)
    return _measure_unseen(recipe, model, data, hide, families)


def run_instruct(recipe: Recipe, stage: Stage, folder: Path) -> Measures:
    """Stage 3: both projectors and LoRA on the language model; then LoRA is merged."""
    from peft import LoraConfig, get_peft_model

    hide = (stage.hide_branch, stage.hide_branch)
    model, data = _prepare(recipe, stage, hide, ())
    adapter = LoraConfig(
        r=stage.lora_rank,
        lora_alpha=stage.lora_alpha,
        lora_dropout=stage.lora_dropout,
        target_modules=LORA_TARGETS,
        modules_to_save=["image_projector", "video_projector"],
    )
    peft_model = get_peft_model(model, adapter)
    rate = stage.projector_learning_rate or stage.learning_rate
    named = [(n, p) for n, p in peft_model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in named if "lora_" in n], "lr": stage.learning_rate},
        {"params": [p for n, p in named if "lora_" not in n], "lr": rate},
    ]
    _train(recipe, stage, folder, peft_model, data, groups)
    merged = peft_model.merge_and_unload()
    save_part(merged.language_model.model, folder, "language_model")
    save_part(merged.image_projector, folder, "image_projector")
    save_part(merged.video_projector, folder, "video_projector")
    return _measure_unseen(recipe, merged, data, (0.0, 0.0), ())


def _prepare(
    recipe: Recipe, stage: Stage, hide: tuple[float, float], families: tuple[str, ...]
) -> tuple[MobileVideoGPTForConditionalGeneration, FeatureQuestions]:
    model = assemble(recipe)
    store = feature_store(recipe, "train")
    packer = QuestionPacker(build_tokenizer(), model.config.num_visual_tokens)
    data = FeatureQuestions(
        store,
        packer,
        stage.steps * stage.batch_size,
        stage.questions_per_clip,
        seed=recipe.seed,
        families=families,
        per_family=stage.per_family,
        hide=hide,
    )
    return model, data


def _train(
    recipe: Recipe,
    stage: Stage,
    folder: Path,
    model: nn.Module,
    data: FeatureQuestions,
    groups: list[dict[str, Any]] | None = None,
) -> None:
    trainable = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad}
    logger.info(
        "%s: %d tensors train, %d values", stage.name, len(trainable), sum(trainable.values())
    )
    train_stage(
        stage, model, data, FeatureCollator(data.packer.pad_id), folder, recipe.seed, groups
    )


def _measure_unseen(
    recipe: Recipe,
    model: MobileVideoGPTForConditionalGeneration,
    data: FeatureQuestions,
    hide: tuple[float, float],
    families: tuple[str, ...],
) -> Measures:
    """`measure` on the validation clips; nothing where the recipe has none."""
    if not recipe.validation_clips:
        return {}
    return measure(model, _unseen(recipe, data, hide, families), data.packer)


def _unseen(
    recipe: Recipe, data: FeatureQuestions, hide: tuple[float, float], families: tuple[str, ...]
) -> FeatureQuestions:
    return FeatureQuestions(
        feature_store(recipe, "validation"),
        data.packer,
        320,
        data.questions_per_clip,
        families=families,
        hide=hide,
    )


def measure(
    model: MobileVideoGPTForConditionalGeneration,
    dataset: FeatureQuestions,
    packer: QuestionPacker,
    batch_size: int = 32,
) -> Measures:
    """Share of answers that greedy decoding gets exactly right, per family and form."""
    model.eval()
    results: dict[str, list[bool]] = defaultdict(list)
    collate = FeatureCollator(packer.pad_id)
    for start in range(0, len(dataset), batch_size):
        samples = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
        packed = collate_shared([sample["row"] for sample in samples], packer.pad_id)
        with torch.no_grad():
            logits = model(**collate(samples)).logits
        for sample, correct in zip(samples, segment_correct(logits, packed), strict=True):
            for name, is_correct in zip(sample["row"].families, correct, strict=True):
                results[name].append(is_correct)
    return family_means(results)


def final_model(
    recipe: Recipe, stage_name: str | None = None
) -> MobileVideoGPTForConditionalGeneration:
    """The model as the last instruction stage (or the named one) left it, LoRA merged."""
    last = stage_name or [s.name for s in recipe.stages() if s.kind == "instruct"][-1]
    model, folder = assemble(recipe), recipe.output / last
    load_part(model.language_model.model, folder, "language_model")
    for part in ("image_projector", "video_projector"):
        load_part(getattr(model, part), folder, part)
    return model.eval()


def save_model(recipe: Recipe, folder: Path) -> Path:
    """Write the finished model in the package's own layout, weights in float16."""
    model = final_model(recipe)
    tokenizer: PreTrainedTokenizerBase = build_tokenizer()
    partial = folder.with_name(folder.name + ".partial")
    model.half().save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    return folder
