"""One training step with random weights, its memory measured: what `memory` is checked against.

A process of its own (`python -m mobile_videogpt.training.planning.memory_probe JSON...`), because
the peak of a process belongs to everything it did before. Two numbers on a CPU: the allocator's
(exact, through the profiler) and the growth of the process (what the machine must have, with the
allocator's slack); on CUDA the allocator's own peak.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...config import MobileVideoGPTConfig
from ...models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from ...models.parameter_counts import count_parameters
from ..media.parameters import choose_trainable, freeze_dtype
from ..media.recipe import MediaStage
from .memory import estimate_memory
from .planned_run import PlannedRun, sequence_length


def measure_step(preset: str, run: PlannedRun, has_profile: bool = True) -> dict[str, Any]:
    """Run a step and measure it.

    Args:
        preset: a name of `config.PRESETS`.
        run: one device; bfloat16 only on CUDA.
        has_profile: on a CPU, also count what the allocator gave out; slows the step down.

    Returns:
        `estimated` and `measured` bytes, `ratio` = estimated / measured.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = replace(run, dropout_mask_bytes=1 if device.type == "cuda" else 4)
    config = MobileVideoGPTConfig.preset(preset)
    if run.has_lora:
        import peft  # noqa: F401  (what importing takes is not the step's)
    before = _process_bytes()
    step = _ReadyStep(config, run, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    loss = step()
    seconds = time.perf_counter() - start
    if device.type == "cuda":
        measured = {"allocator": torch.cuda.max_memory_allocated()}
    else:
        measured = {"process": _process_bytes() - before}
    if device.type == "cpu" and has_profile:
        measured["allocator"] = step.resident_bytes + _profiled_peak(step)
    estimate = estimate_memory(config, run, count_parameters(config))
    return {
        "preset": preset,
        "run": asdict(run),
        "device": device.type,
        "sequence_length": sequence_length(config, run),
        "trained_parameters": sum(p.numel() for p in step.trained),
        "loss": loss,
        "seconds_per_step": round(seconds, 3),
        "estimated_bytes": estimate.peak,
        "estimate": {**asdict(estimate), "phase": estimate.phase},
        "measured_bytes": measured,
        "ratio": {
            name: round(estimate.peak / value, 3) for name, value in measured.items() if value
        },
    }


class _ReadyStep:
    """A training step that only has to be run.

    Gradients are there when it begins, as after the first of several accumulated batches, and so
    are the optimizer's states.
    """

    def __init__(self, config: MobileVideoGPTConfig, run: PlannedRun, device: torch.device) -> None:
        self.run, self.device = run, device
        self.model = model = prepare_model(config, run).to(device)
        self.trained = trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
        self.batch = make_batch(config, run)
        inputs = {name: x.to(device) for name, x in self.batch.items() if isinstance(x, Tensor)}
        self.batch |= inputs
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()  # with zero gradients it only makes its state
        states = [
            x for p in trained for x in self.optimizer.state[p].values() if torch.is_tensor(x)
        ]
        held = [*model.parameters(), *model.buffers(), *inputs.values(), *trained, *states]
        self.resident_bytes = sum(x.nbytes for x in held)
        """What is there before the step: weights, inputs, gradients, states."""

    def __call__(self) -> float:
        """Run it; the loss."""
        is_half = self.run.dtype == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_half):
            loss = compute_loss(self.model, self.batch, self.run.has_all_logits)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def prepare_model(config: MobileVideoGPTConfig, run: PlannedRun) -> nn.Module:
    """A model with random weights, prepared as training from media prepares it."""
    model: Any = MobileVideoGPTForConditionalGeneration(config).train()
    if run.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    stage = MediaStage(
        name=run.stage,
        kind=run.stage,
        data=Path(),
        learning_rate=1e-4,
        batch_size=run.batch_size,
        lora_rank=run.lora_rank,
        lora_dropout=run.lora_dropout,
    )
    model = choose_trainable(model, stage)
    if run.dtype == "bfloat16":
        freeze_dtype(model, torch.bfloat16)
    return model


def make_batch(config: MobileVideoGPTConfig, run: PlannedRun) -> dict[str, Any]:
    """Random pixels and token ids of the planned shapes, as the model's forward takes them."""
    sides = config.image_config.image_size, config.video_config.image_size
    batch: dict[str, Any] = {}
    if run.shows_video:
        for name, side in zip(("image_pixel_values", "video_pixel_values"), sides, strict=True):
            batch[name] = torch.randn(run.batch_size, config.num_frames, 3, side, side)
    else:
        is_video = run.stage == "video_projector"
        batch["still_branch"] = "video" if is_video else "image"
        batch["still_pixel_values"] = torch.randn(
            run.batch_size, 3, sides[is_video], sides[is_video]
        )
    length = sequence_length(config, run)
    visual = length - run.text_tokens
    ids = torch.randint(6, 160, (run.batch_size, length))  # words in every preset's vocabulary
    ids[:, :visual] = config.video_token_id if run.shows_video else config.image_token_id
    labels = ids.clone()
    labels[:, :visual] = -100
    batch |= {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}
    if run.has_mask:
        batch["attention_mask"][0, -1] = 0  # one padded position: attention needs its mask
    return batch


def compute_loss(model: Any, batch: dict[str, Any], has_all_logits: bool) -> Tensor:
    """The mean loss of a batch, from logits where something is learned or from all."""
    if has_all_logits:
        loss: Tensor = model(**batch, use_cache=False).loss
        return loss
    labels = batch["labels"]
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    positions = (labels[:, 1:] != -100).any(0).nonzero().squeeze(1)
    logits = model(**inputs, logits_to_keep=positions, use_cache=False).logits
    return F.cross_entropy(logits.float().flatten(0, 1), labels[:, positions + 1].flatten())


def _process_bytes() -> int:
    """The most memory that this process ever had."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _profiled_peak(step: Any) -> int:
    """The most bytes of `step`'s own that were allocated at once."""
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    current = peak = 0
    events = profile.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = [e for e in events if e.name() == "[memory]"]
    for event in sorted(changes, key=lambda e: e.start_ns()):
        current += event.nbytes()
        peak = max(peak, current)
    return peak


def main(arguments: list[str]) -> int:
    """Measure what JSON documents name (`preset`, `run`, `has_profile`); print one JSON document.

    Only the first one's `process` figure means anything: a process remembers its highest peak.
    """
    wanted = [json.loads(argument) for argument in arguments]
    steps = [
        measure_step(each["preset"], PlannedRun(**each["run"]), each.get("has_profile", True))
        for each in wanted
    ]
    sys.stdout.write(json.dumps({"steps": steps}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
