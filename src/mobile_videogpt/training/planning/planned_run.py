"""A training run before it is started: what is known of it, and the shapes that follow.

`memory` and `throughput` say what it will take; both read their numbers from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...config import MobileVideoGPTConfig

STAGES = ("image_projector", "video_projector", "instruct")
STRATEGIES = ("ddp", "zero2", "fsdp")
BYTES = {"float32": 4, "bfloat16": 2}
MEDIA = ("still", "video")


@dataclass(frozen=True)
class PlannedRun:
    """One stage of the recipe on some number of devices; sizes are those of one device.

    Raises:
        ValueError: a value that no run can have.
    """

    stage: str
    """`image_projector`, `video_projector` (one projector trains) or `instruct` (both and LoRA)."""
    batch_size: int = 1
    """Samples that one device works on at a time."""
    text_tokens: int = 128
    """Prompt and answer of a sample, without its visual tokens."""
    media: str = ""
    """What a sample shows: `still` or `video`; empty: as the paper's stage (stills to warm up)."""
    num_devices: int = 1
    strategy: str = "ddp"
    """How several devices share the work: `ddp`, `zero2` or `fsdp`."""
    dtype: str = "bfloat16"
    """Number format of the arithmetic; with bfloat16, what trains stays in float32."""
    gradient_checkpointing: bool = False
    """Keep each layer's input only and compute the layer again on the way back."""
    lora_rank: int = 128
    lora_dropout: float = 0.0
    dropout_mask_bytes: int = 1
    """Of one value: 1 on CUDA; on a CPU PyTorch keeps the mask as float32, 4."""
    is_padded: bool | None = None
    """Rows of unequal length, so that attention needs a mask; None: if there are several rows."""
    has_all_logits: bool = False
    """Logits of every position, as the model's own loss has them; training from media computes
    those of the text alone."""

    def __post_init__(self) -> None:
        choices = {
            "stage": STAGES,
            "strategy": STRATEGIES,
            "dtype": tuple(BYTES),
            "media": ("", *MEDIA),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                names = ", ".join(value for value in allowed if value)
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose one of {names}")
        for name in ("batch_size", "text_tokens", "num_devices", "lora_rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")

    @property
    def shows_video(self) -> bool:
        return (self.media or ("video" if self.stage == "instruct" else "still")) == "video"

    @property
    def value_bytes(self) -> int:
        """Bytes of one number in the arithmetic."""
        return BYTES[self.dtype]

    @property
    def has_mask(self) -> bool:
        return self.batch_size > 1 if self.is_padded is None else self.is_padded

    @property
    def has_lora(self) -> bool:
        return self.stage == "instruct"

    def shards(self, what: str) -> int:
        """Among how many devices `what` (weights, gradients, optimizer) is divided."""
        divided = {
            "ddp": (),
            "zero2": ("gradients", "optimizer"),
            "fsdp": ("weights", "gradients", "optimizer"),
        }
        return self.num_devices if what in divided[self.strategy] else 1


@dataclass(frozen=True)
class BranchShape:
    """What one sample sends through one encoder and its projector."""

    frames: int
    """Frames that the encoder sees."""
    encoder_tokens: int
    """Tokens that the encoder works on, class tokens included."""
    groups: int
    """Token grids that the projector is given."""
    tokens_in: int
    """Tokens of such a grid."""
    tokens_out: int
    """Tokens that the projector makes of it."""

    @property
    def visual_tokens(self) -> int:
        return self.groups * self.tokens_out


def image_branch(config: MobileVideoGPTConfig, run: PlannedRun) -> BranchShape | None:
    """The image encoder's share of a sample; None where stills go through the other branch."""
    if not run.shows_video and run.stage == "video_projector":
        return None
    frames = config.num_frames if run.shows_video else 1
    patches = config.image_grid**2
    tokens_out = config.image_token_grid**2 if config.projector_type == "etp" else patches
    return BranchShape(frames, frames * (1 + patches), frames, patches, tokens_out)


def video_branch(config: MobileVideoGPTConfig, run: PlannedRun) -> BranchShape | None:
    """The video encoder's share of a sample; None where stills go through the other branch."""
    if not run.shows_video and run.stage != "video_projector":
        return None
    frames = config.num_kept_frames if run.shows_video else 1
    patches = config.video_config.grid_size**2
    groups, tokens_in = frames, patches
    if run.shows_video and config.video_token_layout == "released":
        groups = config.num_chunks
        tokens_in = config.frames_kept_per_chunk * config.video_pool_grid**2
    tokens_out = config.video_token_grid**2 if config.projector_type == "etp" else tokens_in
    return BranchShape(frames, 1 + frames * patches, groups, tokens_in, tokens_out)


def sequence_length(config: MobileVideoGPTConfig, run: PlannedRun) -> int:
    """Visual and text tokens of a sample."""
    branches = (image_branch(config, run), video_branch(config, run))
    return run.text_tokens + sum(branch.visual_tokens for branch in branches if branch)


@dataclass(frozen=True)
class LayerShape:
    """Widths of one layer of the language model."""

    hidden: int
    heads: int
    """All query heads together."""
    key_heads: int
    """All key heads together; as much again for the values."""
    inner: int

    @property
    def linears(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of q, k, v, o, gate, up, down: what LoRA adapts."""
        hidden, heads, keys, inner = self.hidden, self.heads, self.key_heads, self.inner
        attention = ((hidden, heads), (hidden, keys), (hidden, keys), (heads, hidden))
        return (*attention, (hidden, inner), (hidden, inner), (inner, hidden))


def layer_shape(config: MobileVideoGPTConfig) -> LayerShape:
    """The language model's layer."""
    text = config.text_config
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return LayerShape(
        hidden=text.hidden_size,
        heads=text.num_attention_heads * width,
        key_heads=text.num_key_value_heads * width,
        inner=text.intermediate_size,
    )


def lora_parameters(config: MobileVideoGPTConfig, rank: int) -> int:
    """Parameters of LoRA on all linear layers of the language model's blocks."""
    per_layer = sum(rank * (into + out) for into, out in layer_shape(config).linears)
    return config.text_config.num_hidden_layers * per_layer


def trained_parameters(
    config: MobileVideoGPTConfig, run: PlannedRun, parameters: dict[str, int]
) -> dict[str, int]:
    """What trains in this stage, per part.

    Args:
        config: of the model.
        run: the stage.
        parameters: of every part, as `models.parameter_counts` counts them.
    """
    if run.stage != "instruct":
        return {run.stage: parameters[run.stage]}
    projectors = {name: parameters[name] for name in ("image_projector", "video_projector")}
    return {**projectors, "lora": lora_parameters(config, run.lora_rank)}
