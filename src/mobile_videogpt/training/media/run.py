"""Run a recipe that trains from media: stage after stage, then the finished model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Sampler
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase

from ...checkpoints.load import build_model, load_tokenizer, tokenizer_folder
from ...processor import MobileVideoGPTProcessor
from ..curves import MEDIA_CURVES, draw_curves
from ..data import Mixture, load_mixture
from ..files import write_json
from ..processes import has_bf16, process_state
from ..trainer import run_trainer, training_arguments
from .base_model import base_checkpoint, write_model
from .collate import SampleCollator
from .encode import unique_media
from .features import FeatureReader, FeatureStore, encoder_fingerprint
from .order import LengthGroupedSampler, MediaGroupedSampler
from .parameters import choose_trainable, freeze_dtype, report_trainable, trainable_names
from .quantize import quantize_language_model
from .recipe import MediaRecipe, MediaStage
from .samples import MediaReader, SampleDataset
from .stage_results import ADAPTER, checkpoint_after, save_trained, whole_state
from .trainer import MediaTrainer

logger = logging.getLogger(__name__)
Measures = dict[str, float]


def finished_stages(recipe: MediaRecipe, before: str | None = None) -> list[MediaStage]:
    """Stages that are done, up to the one named `before`."""
    names = [stage.name for stage in recipe.stages]
    stages = recipe.stages[: names.index(before)] if before else recipe.stages
    return [stage for stage in stages if (recipe.output / stage.name / "done.json").is_file()]


def train_from_media(recipe: MediaRecipe, stage: MediaStage, folder: Path) -> Measures:
    """Train one stage from where the finished ones before it left the model.

    Resumes from a checkpoint in `folder`; leaves the log, the curves' data and what was trained.
    """
    state = process_state()
    base, done = _start(recipe, stage)
    checkpoint = checkpoint_after(base, done)
    tokenizer = load_tokenizer(tokenizer_folder(checkpoint.folder))
    mixture = load_mixture(stage.data, root=recipe.data_root)
    stage = stage.scheduled(mixture.samples_per_epoch, state.num_processes)
    torch.manual_seed(recipe.seed)  # LoRA's first weights, whatever was drawn before
    whole = build_model(checkpoint).train()
    if stage.qlora:
        quantize_language_model(whole)
    model = choose_trainable(whole, stage)
    names = trainable_names(model, stage.kind)
    if state.is_main_process:
        report_trainable(model, stage, folder)
        write_json(folder / "data.json", mixture.describe(), indent=1)
    trainer = _trainer(recipe, stage, folder, model, mixture, tokenizer)
    history = run_trainer(trainer, stage.name, folder)
    weights = whole_state(trainer)
    if state.is_main_process:
        unwrapped = trainer.accelerator.unwrap_model(trainer.model)
        save_trained(unwrapped, weights, names, tokenizer, folder, base)
    return _measures(history, stage)


def _start(recipe: MediaRecipe, stage: MediaStage) -> tuple[str | Path, list[Path]]:
    """The checkpoint under a stage (an adapter names it as its base), and the stages to add.

    A second instruction stage starts from the merged first one, which is written down for it.
    """
    base = base_checkpoint(recipe)
    done = [recipe.output / s.name for s in finished_stages(recipe, stage.name)]
    names = [s.name for s in recipe.stages]
    for earlier in recipe.stages[: names.index(stage.name)]:
        if recipe.output / earlier.name not in done:
            logger.warning("%s starts without %s, which is not done", stage.name, earlier.name)
    if stage.kind != "instruct" or not any((folder / ADAPTER).is_dir() for folder in done):
        return base, done
    merged = recipe.output / stage.name / "base"
    if process_state().is_main_process and not (merged / "config.json").is_file():
        save_model(base, done, merged)
    process_state().wait_for_everyone()
    return merged, []


def _trainer(
    recipe: MediaRecipe,
    stage: MediaStage,
    folder: Path,
    model: nn.Module,
    mixture: Mixture,
    tokenizer: PreTrainedTokenizerBase,
) -> MediaTrainer:
    config: Any = model.config
    processor = MobileVideoGPTProcessor.from_config(config, tokenizer)
    reader = _reader(recipe, stage, model, processor)  # of the weights as they were loaded
    use_bf16 = has_bf16() if stage.bf16 == "auto" else bool(stage.bf16)
    if use_bf16:
        freeze_dtype(model, torch.bfloat16)
    unseen, callbacks = None, []
    if stage.validation is not None:
        stream = load_mixture(stage.validation, root=recipe.data_root)
        unseen = _dataset(stage, processor, stream, stream.samples_per_epoch, reader)
    if stage.patience:
        callbacks.append(EarlyStoppingCallback(stage.patience))
    return MediaTrainer(
        stage,
        order=_order(recipe, stage, mixture, processor),
        model=model,
        args=_arguments(recipe, stage, folder, use_bf16),
        train_dataset=_dataset(
            stage, processor, mixture, stage.steps * stage.global_batch_size, reader
        ),
        eval_dataset=unseen,
        data_collator=SampleCollator(
            int(tokenizer.pad_token_id or 0), stage.still_branch, shares_prefixes=True
        ),
        callbacks=callbacks,
    )


def _reader(
    recipe: MediaRecipe, stage: MediaStage, model: nn.Module, processor: MobileVideoGPTProcessor
) -> MediaReader | None:
    """Reads stored features if the stage names them, after a look whether all are there."""
    if stage.features is None:
        return None
    store = FeatureStore(stage.features)
    if process_state().is_main_process:
        wrapped: Any = model  # by PEFT, or not
        whole = wrapped.get_base_model() if hasattr(model, "get_base_model") else wrapped
        fingerprint = encoder_fingerprint(whole, processor)
        start = recipe.model if isinstance(recipe.model, str) else recipe.output / "base"
        for path in filter(None, (stage.data, stage.validation)):
            advice = (
                f"mobile-videogpt data encode {path} --model {start} --output {stage.features} "
                f"--stills {stage.still_branch}"
            )
            media = unique_media(load_mixture(path, root=recipe.data_root))
            store.require(media, fingerprint, stage.still_branch, advice)
    return FeatureReader(store, stage.still_branch)


def _dataset(
    stage: MediaStage,
    processor: MobileVideoGPTProcessor,
    stream: Mixture,
    num_samples: int,
    reader: MediaReader | None,
) -> SampleDataset:
    return SampleDataset(
        stream,
        processor,
        num_samples,
        still_branch=stage.still_branch,
        label_style=stage.label_style,  # type: ignore[arg-type]
        max_length=stage.max_length,
        reader=reader,
    )


def _order(
    recipe: MediaRecipe, stage: MediaStage, mixture: Mixture, processor: MobileVideoGPTProcessor
) -> Sampler[int] | None:
    """The order of the samples; None is the stream's own."""
    total, per_epoch = stage.steps * stage.global_batch_size, mixture.samples_per_epoch
    if stage.group_by_media:
        return MediaGroupedSampler(mixture.media_numbers, per_epoch, total)
    if not stage.group_by_length:
        return None
    per_still = processor.num_still_tokens[stage.still_branch]

    def lengths(epoch: int) -> list[int]:
        return mixture.lengths(
            epoch, tokens_per_video=processor.num_visual_tokens, tokens_per_image=per_still
        )

    return LengthGroupedSampler(lengths, per_epoch, total, stage.global_batch_size, recipe.seed)


def _arguments(recipe: MediaRecipe, stage: MediaStage, folder: Path, use_bf16: bool) -> Any:
    state = process_state()
    chosen: dict[str, Any] = {}
    if stage.gradient_checkpointing:
        chosen |= {
            "activation_checkpointing": True,
            "activation_checkpointing_kwargs": {"use_reentrant": False},
        }
    if stage.validation is not None:
        chosen |= {
            "eval_strategy": "steps",
            "eval_steps": stage.save_steps,
            "per_device_eval_batch_size": stage.batch_size,
            "prediction_loss_only": True,
            "load_best_model_at_end": stage.patience > 0,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
        }
    return training_arguments(
        stage,
        folder,
        recipe.seed,
        gradient_accumulation_steps=stage.accumulation(state.num_processes),
        max_grad_norm=stage.max_grad_norm,
        logging_steps=stage.logging_steps,
        save_total_limit=stage.save_total_limit,
        logging_nan_inf_filter=False,  # a loss that is no number must be seen
        **chosen,
        bf16=use_bf16,
        dataloader_num_workers=stage.workers,
        report_to=recipe.report_to,
        run_name=f"{recipe.path.stem}-{stage.name}",
        # Every weight that trains is in every batch's graph: the model touches idle projectors.
        ddp_find_unused_parameters=False,
        average_tokens_across_devices=True,
    )


def save_model(base: str | Path, folders: list[Path], destination: Path) -> None:
    """Write the base with what finished stages trained, adapters merged; strict like all loading.

    Values are kept in the base's precision.
    """
    checkpoint = checkpoint_after(base, folders)
    tokenizer = load_tokenizer(tokenizer_folder(checkpoint.folder))
    write_model(build_model(checkpoint, dtype=None), tokenizer, destination)


def _measures(history: list[dict[str, float]], stage: MediaStage) -> Measures:
    rows = [row for row in history if "loss" in row]
    last = rows[-max(len(rows) // 10, 1) :]
    unseen = [row["eval_loss"] for row in history if "eval_loss" in row]
    return {
        **({"validation_loss": min(unseen) if stage.patience else unseen[-1]} if unseen else {}),
        "loss": sum(row["loss"] for row in last) / max(len(last), 1),
        "samples": stage.steps * stage.global_batch_size,
        "replaced_samples": rows[-1]["replaced_samples"] if rows else 0,
        "peak_memory_bytes": max((row["peak_memory_bytes"] for row in rows), default=0),
    }


def finish(recipe: MediaRecipe) -> Path:
    """Draw the curves and write `OUTPUT/model` from all stages; for every process to call."""
    destination = recipe.output / "model"
    base = base_checkpoint(recipe)
    if process_state().is_main_process:
        names = [stage.name for stage in recipe.stages]
        draw_curves(recipe.output, names, MEDIA_CURVES)
        save_model(base, [recipe.output / name for name in names], destination)
    process_state().wait_for_everyone()
    return destination
