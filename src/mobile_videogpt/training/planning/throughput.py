"""How long a training run takes: the arithmetic of each part over a stated throughput.

The formula is `FORMULA`; `count_flops` and `estimate_time` evaluate it. It is a floor, not a
promise: decoding, reading and communication are hidden behind the arithmetic only where the machine
manages to, so the data loader's rate may be given too, and the slower of the two counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...config import MobileVideoGPTConfig
from .planned_run import (
    BranchShape,
    PlannedRun,
    image_branch,
    layer_shape,
    lora_parameters,
    sequence_length,
    video_branch,
)

FORMULA = (
    "seconds a step = larger of (batch x FLOPs of a sample / (peak x utilisation), batch / the "
    "loader's samples a second)",
    "hours = seconds a step x samples x epochs / (batch x devices) / 3600",
    "FLOPs of a linear layer = 2 x parameters x tokens; on the way back once more for its input's "
    "gradient (language model, frozen: nothing else) and once more for its own (what trains)",
    "attention = 4 x length^2 x width x layers (causal: half), on the way back 2.5 times as much",
    "selective scan = 2 directions x 9 x tokens x channels x states x layers",
    "gradient checkpointing = the language model's layers forward once more",
)

SCAN_OPERATIONS = 9  # per token, channel and state: exp(dA), dA, du B, a multiply-add, C h
CC595K = 595_375  # samples of the paper's warm-up data


@dataclass(frozen=True)
class Gpu:
    """A card's memory and its dense peak, without sparsity, from its data sheet."""

    memory_bytes: int
    peak_flops: dict[str, float]

    @property
    def usable_bytes(self) -> int:
        """What a plan may fill: a tenth is left to the context, the allocator and other tools."""
        return self.memory_bytes * 9 // 10


GPUS = {
    "a100-40gb": Gpu(40 * 2**30, {"bfloat16": 312e12, "float32": 19.5e12}),
    "a100-80gb": Gpu(80 * 2**30, {"bfloat16": 312e12, "float32": 19.5e12}),
    "h100-80gb": Gpu(80 * 2**30, {"bfloat16": 989e12, "float32": 67e12}),
}


@dataclass(frozen=True)
class TimeEstimate:
    """What a run takes; `hours` is None where the number of samples is not known."""

    seconds_per_step: float
    samples_per_second: float
    """Of all devices together: what the data loaders must deliver."""
    hours: float | None
    bound: str
    """What the time is made of: `arithmetic` or `loader`."""


def estimate_time(
    run: PlannedRun,
    flops: dict[str, dict[str, float]],
    peak_flops: float,
    utilisation: float,
    samples: int | None = None,
    epochs: float = 1,
    loader_rate: float | None = None,
) -> TimeEstimate:
    """Evaluate `FORMULA`.

    Args:
        run: what is planned.
        flops: of one sample, as `count_flops` counts them.
        peak_flops: of one device, per second.
        utilisation: the share of it that is reached, 0 to 1.
        samples: in an epoch.
        epochs: how often they are seen.
        loader_rate: samples per second that one device's data loader delivers; None: enough.

    Raises:
        ValueError: a rate or share out of its range.
    """
    if not 0 < utilisation <= 1:
        raise ValueError(f"utilisation is {utilisation}; it must be above 0 and at most 1")
    per_sample = sum(sum(ways.values()) for ways in flops.values())
    arithmetic = run.batch_size * per_sample / (peak_flops * utilisation)
    loading = run.batch_size / loader_rate if loader_rate else 0.0
    seconds = max(arithmetic, loading)
    rate = run.batch_size * run.num_devices / seconds
    hours = None if samples is None else samples * epochs / rate / 3600
    bound = "loader" if loading > arithmetic else "arithmetic"
    return TimeEstimate(seconds, rate, hours, bound)


def count_flops(
    config: MobileVideoGPTConfig, run: PlannedRun, parameters: dict[str, int]
) -> dict[str, dict[str, float]]:
    """Operations of one sample: part -> {"forward": ..., "backward": ...}.

    Args:
        config: of the model.
        run: what is planned.
        parameters: of every part, as `models.parameter_counts` counts them.
    """
    counts: dict[str, dict[str, float]] = {}
    image, video = image_branch(config, run), video_branch(config, run)
    if image:
        counts["image_encoder"] = _frozen(_image_encoder(config, image))
        counts["image_projector"] = _projector(
            config, run, "image_projector", image, config.image_config.hidden_size
        )
    if run.shows_video and config.frame_selection != "uniform":
        counts["selection"] = _frozen(_selection(config))
    if video:
        counts["video_encoder"] = _frozen(_video_encoder(config, video, parameters))
        counts["video_projector"] = _projector(
            config, run, "video_projector", video, config.video_config.hidden_size
        )
    return {**counts, **_language_model(config, run)}


def _frozen(forward: float) -> dict[str, float]:
    return {"forward": forward, "backward": 0.0}


def _image_encoder(config: MobileVideoGPTConfig, branch: BranchShape) -> float:
    """The layers up to the one whose features are used."""
    clip = config.image_config
    width, tokens = clip.hidden_size, branch.encoder_tokens
    depth = range(clip.num_hidden_layers + 1)[config.image_feature_layer]
    layer = 2 * tokens * (4 * width**2 + 2 * width * clip.intermediate_size)
    attention = 4 * tokens * (tokens // branch.frames) * width
    patches = 2 * branch.frames * config.image_grid**2 * 3 * clip.patch_size**2 * width
    return depth * (layer + attention) + patches


def _video_encoder(
    config: MobileVideoGPTConfig, branch: BranchShape, parameters: dict[str, int]
) -> float:
    mamba = config.video_config
    positions = mamba.grid_size**2 * mamba.hidden_size
    scan = (
        2
        * SCAN_OPERATIONS
        * branch.encoder_tokens
        * mamba.intermediate_size
        * mamba.state_size
        * mamba.num_hidden_layers
    )
    return 2 * branch.encoder_tokens * (parameters["video_encoder"] - positions) + scan


def _selection(config: MobileVideoGPTConfig) -> float:
    frames = config.num_frames if config.frame_selection == "global" else config.frames_per_chunk
    groups = config.num_frames // frames
    return 2.0 * groups * (frames * config.image_grid**2) ** 2 * config.image_config.hidden_size


def _projector(
    config: MobileVideoGPTConfig, run: PlannedRun, name: str, branch: BranchShape, features: int
) -> dict[str, float]:
    width = config.text_config.hidden_size
    tokens = branch.groups * branch.tokens_in
    first, second = 2.0 * tokens * features * width, 2.0 * tokens * width**2
    position = 2.0 * 9 * branch.visual_tokens * width if config.projector_type == "etp" else 0.0
    trains = run.stage in (name, "instruct")
    # The features need no gradient, so the first layer goes back once.
    backward = first + 2 * (second + position) if trains else 0.0
    return {"forward": first + second + position, "backward": backward}


def _language_model(config: MobileVideoGPTConfig, run: PlannedRun) -> dict[str, dict[str, float]]:
    text, shape = config.text_config, layer_shape(config)
    length, layers = sequence_length(config, run), config.text_config.num_hidden_layers
    weights = layers * sum(into * out for into, out in shape.linears)
    linear = 2.0 * weights * length
    attention = 2.0 * length**2 * shape.heads * layers
    again = linear + attention if run.gradient_checkpointing else 0.0
    positions = length if run.has_all_logits else run.text_tokens
    head = 2.0 * text.vocab_size * text.hidden_size * positions
    counts = {
        "language_model": {
            "forward": linear + attention,
            "backward": linear + 2.5 * attention + again,
        },
        "logits": {"forward": head, "backward": head},
    }
    if run.has_lora:
        lora = 2.0 * lora_parameters(config, run.lora_rank) * length
        more = lora if run.gradient_checkpointing else 0.0
        counts["lora"] = {"forward": lora, "backward": 2 * lora + more}
    return counts
