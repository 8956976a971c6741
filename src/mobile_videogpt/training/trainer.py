"""One way to run transformers' Trainer: resumable, logged, with a separate projector rate."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.data import Dataset, Sampler, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from .files import write_json
from .recipe import Stage

logger = logging.getLogger(__name__)
Collator = Callable[[list[Any]], dict[str, torch.Tensor]]


class InOrderTrainer(Trainer):
    """A Trainer that visits samples in order: the datasets themselves are already shuffled."""

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        return SequentialSampler(train_dataset or self.train_dataset)  # type: ignore[arg-type]


# What the log line says of a step, where it was measured: key -> how it is written.
_REPORTED = {
    "loss": "loss {:.4f}",
    "grad_norm": "gradient {:.3g}",
    "learning_rate": "rate {:.2e}",
    "samples_per_second": "{:.3g} samples/s",
    "visual_tokens_per_second": "{:.3g} visual tokens/s",
}


class _ProgressLog(TrainerCallback):
    """One line on the log every `logging_steps`: step, loss, rates, time left."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.started: tuple[float, int] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.started = (time.monotonic(), state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        is_step = bool(logs) and "loss" in logs
        if not is_step or self.started is None or not state.is_world_process_zero:
            return
        begun, first = self.started
        pace = (time.monotonic() - begun) / max(state.global_step - first, 1)
        left = pace * (state.max_steps - state.global_step)
        measured = [text.format(float(logs[k])) for k, text in _REPORTED.items() if k in logs]
        logger.info(
            "%s: step %d of %d, %s, %.2f s a step, %.0f minutes left",
            self.name,
            state.global_step,
            state.max_steps,
            ", ".join(measured),
            pace,
            left / 60,
        )


class Hyperparameters(Protocol):
    """What every kind of stage says of its optimisation."""

    @property
    def name(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def warmup_steps(self) -> int: ...
    @property
    def save_steps(self) -> int: ...


def training_arguments(
    stage: Hyperparameters, folder: Path, seed: int, **changes: Any
) -> TrainingArguments:
    """What all stages have in common; `changes` win."""
    values: dict[str, Any] = {
        "output_dir": str(folder / "checkpoints"),
        "max_steps": stage.steps,
        "per_device_train_batch_size": stage.batch_size,
        "learning_rate": stage.learning_rate,
        "weight_decay": stage.weight_decay,
        "warmup_steps": stage.warmup_steps,
        "lr_scheduler_type": "cosine",
        "max_grad_norm": 1.0,
        "logging_steps": 20,
        "save_steps": stage.save_steps,
        "save_total_limit": 1,
        "seed": seed,
        "remove_unused_columns": False,
        "report_to": "none",
        "disable_tqdm": not sys.stderr.isatty(),
        "dataloader_num_workers": 0,
        "use_cpu": not torch.cuda.is_available(),
        # A restored run must see the samples that the killed one would have seen.
        "ignore_data_skip": False,
    }
    return TrainingArguments(**{**values, **changes})


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
    optimizers: tuple[Any, Any] = (None, None)
    if groups:
        optimizers = (torch.optim.AdamW(list(groups), weight_decay=stage.weight_decay), None)
    trainer = InOrderTrainer(
        model=model,
        args=training_arguments(stage, folder, seed),
        train_dataset=dataset,
        data_collator=collate,
        optimizers=optimizers,
    )
    return run_trainer(trainer, stage.name, folder)


def run_trainer(trainer: Trainer, name: str, folder: Path) -> list[dict[str, float]]:
    """Run a trainer to its end, from its last whole checkpoint if there is one."""
    trainer.remove_callback(PrinterCallback)  # it writes to standard output
    trainer.add_callback(_ProgressLog(name))
    last = last_checkpoint(Path(str(trainer.args.output_dir)))
    if last:
        logger.info("%s: resuming from %s", name, last)
    trainer.train(resume_from_checkpoint=last)
    history: list[dict[str, float]] = trainer.state.log_history
    if trainer.is_world_process_zero():
        write_json(folder / "history.json", history)
    return history


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end: the trainer's state comes last."""
    steps = {
        int(path.parent.name.rpartition("-")[2]): path.parent
        for path in folder.glob("checkpoint-*/trainer_state.json")
    }
    return str(steps[max(steps)]) if steps else None
