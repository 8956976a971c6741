"""One way to run transformers' Trainer: resumable, logged, with a separate projector rate."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, Sampler, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from .recipe import Stage

logger = logging.getLogger(__name__)
Collator = Callable[[list[Any]], dict[str, torch.Tensor]]


class InOrderTrainer(Trainer):
    """A Trainer that visits samples in order: the datasets themselves are already shuffled."""

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        return SequentialSampler(train_dataset or self.train_dataset)  # type: ignore[arg-type]


class _ProgressLog(TrainerCallback):
    """One line on the log every `logging_steps`: step, loss, rate, time left."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.started: tuple[float, int] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.started = (time.monotonic(), state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs or self.started is None:
            return
        begun, first = self.started
        pace = (time.monotonic() - begun) / max(state.global_step - first, 1)
        left = pace * (state.max_steps - state.global_step)
        logger.info(
            "%s: step %d of %d, loss %.4f, %.2f s a step, %.0f minutes left",
            self.name,
            state.global_step,
            state.max_steps,
            float(logs["loss"]),
            pace,
            left / 60,
        )


def train_stage(
    stage: Stage,
    model: nn.Module,
    dataset: Dataset[Any],
    collate: Collator,
    folder: Path,
    seed: int,
    groups: Sequence[dict[str, Any]] | None = None,
) -> list[dict[str, float]]:
    """Train `model` in place and return the log history; resumes from a checkpoint in `folder`.

    `groups` are optimiser parameter groups (parameters and their own learning rate); by default all
    trainable parameters share `stage.learning_rate`.
    """
    args = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        learning_rate=stage.learning_rate,
        weight_decay=stage.weight_decay,
        warmup_steps=stage.warmup_steps,
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
        logging_steps=20,
        save_steps=stage.save_steps,
        save_total_limit=1,
        seed=seed,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_num_workers=0,
        use_cpu=not torch.cuda.is_available(),
        # A restored run must see the samples that the killed one would have seen.
        ignore_data_skip=False,
    )
    optimizers: tuple[Any, Any] = (None, None)
    if groups:
        optimizers = (torch.optim.AdamW(list(groups), weight_decay=stage.weight_decay), None)
    trainer = InOrderTrainer(
        model=model,
        args=args,
        train_dataset=dataset,
        data_collator=collate,
        optimizers=optimizers,
        callbacks=[_ProgressLog(stage.name)],
    )
    last = get_last_checkpoint(args.output_dir) if Path(args.output_dir).is_dir() else None
    if last:
        logger.info("%s: resuming from %s", stage.name, last)
    trainer.train(resume_from_checkpoint=last)
    history: list[dict[str, float]] = trainer.state.log_history
    (folder / "history.json").write_text(json.dumps(history))
    return history
