"""How much memory one training step takes on one device, from the configuration alone.

The formula, term by term, is `FORMULA`; `estimate_memory` evaluates it. It counts what PyTorch's
autograd keeps for the eager model of this package, with the frozen parts run without gradients.
Left out on purpose: the allocator's own slack and the device's context (about 1 GB on CUDA), which
`throughput.GPUS` leaves room for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...config import MobileVideoGPTConfig
from .planned_run import (
    BranchShape,
    LayerShape,
    PlannedRun,
    image_branch,
    layer_shape,
    sequence_length,
    trained_parameters,
    video_branch,
)

FORMULA = (
    "peak = weights + gradients + optimizer + communication + pixels + largest of (encoders, loss, "
    "backward)",
    "weights = frozen x b + trained x 4; b = 2 for bfloat16, 4 for float32 (fsdp: / devices; zero2 "
    "in bfloat16: trained x 2, and 4 more with the optimizer)",
    "gradients = trained x 4 (zero2 in bfloat16: x 2; zero2, fsdp: / devices)",
    "optimizer = trained x 8, AdamW's two moments (zero2, fsdp: / devices)",
    "communication, several devices = ddp: trained x 4 (buckets); zero2: trained x b, at most 5e8 "
    "values; fsdp: what is outside the language model's layers, and 2 of these",
    "pixels = batch x frames x 3 x side^2 x 4, for each encoder",
    "kept per token of a language layer = 8E (two norms' inputs, in float32) + b(2Q + 2K + 3I) (q, "
    "output, k, v, gate, its activation, up); with LoRA + b(2E + I + 7r), or + b(5E + Q + I + 7r) "
    "where the seven inputs are separate copies (dropout or bfloat16), with dropout + 5E + Q + I "
    "for its masks (on a CPU 4 times that); with padding K becomes Q, and b x length is added",
    "kept per token of a projector that trains = b(D + 3E), per token that leaves it bE",
    "activations = tokens x layers x kept per token, or with gradient checkpointing tokens x "
    "layers x bE + one layer",
    "loss = activations + 12 bytes x vocabulary x positions with logits (log-probabilities and two "
    "gradients in float32)",
    "backward = activations + one layer's gradients, tokens x b(3I + 2E)",
    "encoders = the widest layer without gradients, tokens x b(3I + 2D), or the video encoder's "
    "4 x (9C + 2D)",
    "E, I, Q, K: language model's width, inner width, width of all query heads, of all key heads; "
    "D: encoder's width, C = VideoMamba's inner width, r: LoRA rank",
)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device."""

    weights: dict[str, int]
    """Per part, LoRA included."""
    gradients: int
    optimizer: int
    communication: int
    pixels: int
    activations: dict[str, int]
    """What the way back needs, per part."""
    phases: dict[str, int]
    """What each phase of a step needs beyond the above; activations are in `loss`, `backward`."""

    @property
    def phase(self) -> str:
        """The phase in which the peak falls."""
        return max(self.phases, key=self.phases.__getitem__)

    @property
    def resident(self) -> int:
        """What is there between two steps."""
        return sum(self.weights.values()) + self.gradients + self.optimizer + self.communication

    @property
    def peak(self) -> int:
        return self.resident + self.pixels + max(self.phases.values())


def estimate_memory(
    config: MobileVideoGPTConfig, run: PlannedRun, parameters: dict[str, int]
) -> MemoryEstimate:
    """Evaluate `FORMULA`.

    Args:
        config: of the model.
        run: what is planned.
        parameters: of every part, as `models.parameter_counts` counts them.
    """
    trained = trained_parameters(config, run, parameters)
    activations = activation_bytes(config, run)
    kept = sum(activations.values())
    return MemoryEstimate(
        weights=_weights(run, parameters, trained),
        gradients=sum(trained.values()) * _trained_bytes(run) // run.shards("gradients"),
        optimizer=_optimizer(run, sum(trained.values())),
        communication=_communication(config, run, parameters, trained),
        pixels=_pixels(config, run),
        activations=activations,
        phases={
            "encoders": _encoders(config, run),
            "loss": kept + _logits(config, run),
            "backward": kept + _layer_gradients(config, run),
        },
    )


def activation_bytes(config: MobileVideoGPTConfig, run: PlannedRun) -> dict[str, int]:
    """What autograd keeps of one step's forward pass, per part."""
    kept = {}
    width = config.text_config.hidden_size
    branches = (
        ("image_projector", image_branch(config, run), config.image_config.hidden_size),
        ("video_projector", video_branch(config, run), config.video_config.hidden_size),
    )
    for name, branch, features in branches:
        if branch and run.stage in (name, "instruct"):
            kept[name] = run.batch_size * _projector(run, branch, features, width)
    tokens = run.batch_size * sequence_length(config, run)
    layers = config.text_config.num_hidden_layers
    layer = layer_token_bytes(config, run)
    if run.gradient_checkpointing:
        kept["layer_inputs"] = tokens * layers * width * run.value_bytes
        kept["language_model"] = tokens * layer
    else:
        kept["language_model"] = tokens * layers * layer
    kept["language_model"] += tokens * 4 * width  # the last norm's input
    return kept


def layer_token_bytes(config: MobileVideoGPTConfig, run: PlannedRun) -> int:
    """What one layer of the language model keeps of one token."""
    shape, size = layer_shape(config), run.value_bytes
    keys = shape.heads if run.has_mask else shape.key_heads
    values = 2 * shape.heads + 2 * keys + 3 * shape.inner
    if run.has_mask:
        values += sequence_length(config, run)  # the mask as numbers, one row a query
    kept = 8 * shape.hidden + size * values
    return kept + _lora_token_bytes(shape, run) if run.has_lora else kept


def _lora_token_bytes(shape: LayerShape, run: PlannedRun) -> int:
    linears = shape.linears
    size = run.value_bytes
    ranks = len(linears) * run.lora_rank * size
    inputs = sum(into for into, _ in linears)
    if run.lora_dropout:
        return ranks + inputs * (size + run.dropout_mask_bytes)
    if run.dtype != "float32":  # PEFT casts every linear's input on its own
        return ranks + inputs * size
    return ranks + (2 * shape.hidden + shape.inner) * size  # o's input is the attention's output


def _projector(run: PlannedRun, branch: BranchShape, features: int, width: int) -> int:
    inside = branch.groups * branch.tokens_in * (features + 3 * width)
    return run.value_bytes * (inside + branch.visual_tokens * width)


def _trained_bytes(run: PlannedRun) -> int:
    # DeepSpeed casts the whole model and keeps the precise copy with the optimiser.
    return run.value_bytes if run.strategy == "zero2" else 4


def _weights(
    run: PlannedRun, parameters: dict[str, int], trained: dict[str, int]
) -> dict[str, int]:
    shards = run.shards("weights")
    counts = {**parameters, **{name: n for name, n in trained.items() if name == "lora"}}
    sizes = {name: _trained_bytes(run) if name in trained else run.value_bytes for name in counts}
    return {name: count * sizes[name] // shards for name, count in counts.items()}


def _optimizer(run: PlannedRun, trained: int) -> int:
    precise_copy = 4 if _trained_bytes(run) < 4 else 0
    return trained * (8 + precise_copy) // run.shards("optimizer")


def _communication(
    config: MobileVideoGPTConfig,
    run: PlannedRun,
    parameters: dict[str, int],
    trained: dict[str, int],
) -> int:
    if run.num_devices == 1:
        return 0
    if run.strategy == "ddp":
        return 4 * sum(trained.values())
    if run.strategy == "zero2":
        return run.value_bytes * min(sum(trained.values()), 500_000_000)
    # Units of configs/accelerate/fsdp.yaml: each layer by itself, and the root with all the rest,
    # which stays whole from forward to backward.
    whole = _weights(replace(run, strategy="ddp"), parameters, trained)
    embedding = config.text_config.vocab_size * config.text_config.hidden_size * run.value_bytes
    in_layers = whole["language_model"] - embedding + whole.get("lora", 0)
    layer = in_layers // config.text_config.num_hidden_layers
    return sum(whole.values()) - in_layers + 2 * layer


def _pixels(config: MobileVideoGPTConfig, run: PlannedRun) -> int:
    frames = config.num_frames if run.shows_video else 1
    sides = [
        encoder.image_size
        for encoder, branch in (
            (config.image_config, image_branch(config, run)),
            (config.video_config, video_branch(config, run)),
        )
        if branch
    ]
    return run.batch_size * frames * sum(3 * side**2 * 4 for side in sides)


def _encoders(config: MobileVideoGPTConfig, run: PlannedRun) -> int:
    """The working set of the wider encoder: they run one after the other, without gradients."""
    image, video = image_branch(config, run), video_branch(config, run)
    needs = [0]
    if image:
        wide = config.image_config
        token = run.value_bytes * (3 * wide.intermediate_size + 2 * wide.hidden_size)
        needs.append(run.batch_size * image.encoder_tokens * token)
    if video:
        mamba = config.video_config
        token = 4 * (9 * mamba.intermediate_size + 2 * mamba.hidden_size)
        needs.append(run.batch_size * video.encoder_tokens * token)
    return max(needs)


def _logits(config: MobileVideoGPTConfig, run: PlannedRun) -> int:
    positions = sequence_length(config, run) if run.has_all_logits else run.text_tokens
    return 12 * config.text_config.vocab_size * run.batch_size * positions


def _layer_gradients(config: MobileVideoGPTConfig, run: PlannedRun) -> int:
    shape = layer_shape(config)
    tokens = run.batch_size * sequence_length(config, run)
    return tokens * run.value_bytes * (3 * shape.inner + 2 * shape.hidden)
