"""Sizes and rates for the model and the memory at hand, as a recipe of one stage."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from ...config import MobileVideoGPTConfig
from ...models.parameter_counts import count_parameters
from ..media.recipe import MediaRecipe, MediaStage
from ..planning.memory import estimate_memory
from ..planning.planned_run import PlannedRun
from ..processes import has_bf16
from .memory_at_hand import usable_bytes
from .options import FinetuneOptions
from .prepare import Prepared

logger = logging.getLogger(__name__)
STAGE = "finetune"
_PAPER_RATE, _PAPER_WIDTH, _LARGEST_RATE = 2e-4, 896, 1e-3


@dataclass(frozen=True)
class Sizes:
    """What a step takes.

    Attributes:
        batch_size: samples at a time; the rest of a step is accumulated.
        gradient_checkpointing: needed to fit even one sample.
        estimated_bytes: of a step, by `training.planning.memory`.
        usable_bytes, device: what there is.
    """

    batch_size: int
    gradient_checkpointing: bool
    estimated_bytes: int
    usable_bytes: int
    device: str


def choose_sizes(options: FinetuneOptions, config: MobileVideoGPTConfig, text_tokens: int) -> Sizes:
    """The largest batch that fits; gradient checkpointing only where one sample does not."""
    room, device = usable_bytes()
    parameters = count_parameters(config)
    total = options.global_batch_size
    batches = [options.batch_size] if options.batch_size else _divisors(total)
    run = PlannedRun(
        stage="instruct",
        text_tokens=text_tokens,
        dtype="bfloat16" if has_bf16() else "float32",
        lora_rank=options.lora_rank,
    )
    tried = [
        (replace(run, batch_size=batch, gradient_checkpointing=checkpointing))
        for checkpointing in (False, True)
        for batch in (batches if not checkpointing else batches[-1:])
    ]
    for planned in tried:
        peak = estimate_memory(config, planned, parameters).peak
        if peak <= room:
            break
    else:
        logger.warning(
            "A step takes about %.1f GB, but only %.1f GB can be used (%s): it may fail.",
            peak / 1e9,
            room / 1e9,
            device,
        )
    return Sizes(planned.batch_size, planned.gradient_checkpointing, peak, room, device)


def _divisors(total: int) -> list[int]:
    """Batch sizes that a step can be cut into, largest first."""
    return [size for size in range(total, 0, -1) if total % size == 0]


def learning_rate(options: FinetuneOptions, config: MobileVideoGPTConfig) -> float:
    """The one asked for, or the paper's for its width, and more for narrower models."""
    scaled = _PAPER_RATE * _PAPER_WIDTH / config.text_config.hidden_size
    return options.learning_rate or min(max(_PAPER_RATE, scaled), _LARGEST_RATE)


def build_recipe(
    options: FinetuneOptions, config: MobileVideoGPTConfig, data: Prepared, sizes: Sizes
) -> MediaRecipe:
    """What `training.runner.run_media` runs; its output is the run's folder."""
    per_epoch = data.counts["train"]
    if data.counts["replay"]:
        per_epoch = round(per_epoch / (1 - options.replay_share))
    steps = max(per_epoch // options.global_batch_size, 1)  # of an epoch
    rate = learning_rate(options, config)
    stage = MediaStage(
        name=STAGE,
        kind="instruct",
        data=data.train,
        learning_rate=rate,
        projector_learning_rate=rate / 10,
        batch_size=sizes.batch_size,
        global_batch_size=max(options.global_batch_size, sizes.batch_size),
        steps=options.epochs * steps,
        lora_rank=options.lora_rank,
        lora_alpha=2 * options.lora_rank,
        lora_dropout=0.05,
        gradient_checkpointing=sizes.gradient_checkpointing,
        logging_steps=max(steps // 2, 1),
        save_steps=steps,
        features=options.output / "features",
        group_by_media=True,
        validation=data.validation,
        patience=options.patience,
        source="ours: chosen for the model, the data and the memory at hand",
        qlora=options.qlora,
    )
    return MediaRecipe(
        path=options.output / "finetune.yaml",
        output=options.output,
        model=options.model,
        stages=(stage,),
        seed=options.seed,
    )
