"""The Trainer of stages that train from media."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedModel

from ...processor.prompt import IGNORED
from ..trainer import InOrderTrainer
from .collate import SampleCollator
from .meter import Meter
from .parameters import parameter_groups
from .recipe import MediaStage


class MediaTrainer(InOrderTrainer):
    """A Trainer that knows the order of the samples, the groups of the weights, and what to report.

    Its loss is the mean over the learned tokens of the whole optimiser step, of all devices and
    accumulated batches: it does not depend on how a step is cut into batches.

    Args:
        stage: its hyper-parameters.
        order: of the samples; by default the dataset's own.
    """

    def __init__(
        self, stage: MediaStage, *, order: Sampler[int] | None = None, **options: Any
    ) -> None:
        self.optimizer: torch.optim.Optimizer | None = None
        self.data_collator: Any = None
        super().__init__(**options)
        self.stage, self.order = stage, order
        self.meter = Meter()

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        return self.order or super()._get_train_sampler(train_dataset)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """A row for every sample: their number weighs the mean of the validation loss."""
        collate: Any = self.data_collator
        if isinstance(collate, SampleCollator):
            self.data_collator = replace(collate, shares_prefixes=False)
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = collate

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW, the projectors at their own rate; here because FSDP wraps the weights first."""
        if self.optimizer is None:
            named = dict((model or self.model).named_parameters())
            stage = self.stage
            groups = parameter_groups(named, stage.learning_rate, stage.projector_learning_rate)
            self.optimizer = torch.optim.AdamW(groups, weight_decay=stage.weight_decay)
        return self.optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Sum of the learned tokens' losses over their number in the whole step.

        Logits are computed only where a row of the batch has something to learn: over the visual
        tokens they would take most of the memory and teach nothing.
        """
        inputs = dict(inputs)
        labels, counts = inputs.pop("labels"), inputs.pop("counts")
        if model.training:
            self.meter.add(counts)
        is_learned = labels[:, 1:] != IGNORED  # (B, L - 1), by the position before
        positions = is_learned.any(0).nonzero().squeeze(1)
        outputs = model(**inputs, logits_to_keep=positions, use_cache=False)
        logits = outputs.logits.float().flatten(0, 1)  # (B * P, V)
        targets = labels[:, positions + 1].flatten()
        total = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
        if num_items_in_batch is None:  # evaluation
            loss = total / is_learned.sum().clamp(min=1)
        else:  # gradients are averaged over the devices, the number of tokens is of all of them
            loss = total / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add rates and memory to the log of a training step; called on every process."""
        if "loss" in logs:
            counts = self.meter.take(self.args.device)
            logs |= self.meter.report(self.accelerator.reduce(counts, "sum"))
            if self.optimizer is not None and len(self.optimizer.param_groups) > 1:
                logs["projector_learning_rate"] = self.lr_scheduler.get_last_lr()[-1]
        super().log(logs, start_time)

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        """Checkpoints to resume from hold what trains; the rest is where it came from."""
        if state_dict is None and isinstance(self.model, PreTrainedModel):
            weights = self.model.named_parameters()
            state_dict = {name: weight for name, weight in weights if weight.requires_grad}
        super()._save(output_dir, state_dict)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """What is frozen may be missing from such a checkpoint, what trains may not."""
        trained = {n for n, w in self.model.named_parameters() if w.requires_grad}
        lost = sorted(trained & set(load_result.missing_keys))
        if lost or load_result.unexpected_keys:
            wrong = (lost or load_result.unexpected_keys)[0]
            raise ValueError(
                f"The checkpoint to resume from does not fit the stage ({wrong}): remove the "
                "stage's folder to train it anew."
            )
