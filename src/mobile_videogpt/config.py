"""Configuration: everything that the weights depend on, and the named presets.

Where the paper and the released code differ, a field chooses (``frame_selection``,
``video_token_layout``). The presets ``0.5b`` and ``1.5b`` are the released behaviour,
``0.5b-paper`` and ``1.5b-paper`` the paper's text.
"""

import math
from typing import Any, Literal

from transformers import AutoConfig, CLIPVisionConfig, PreTrainedConfig, Qwen2Config
from transformers.configuration_utils import SubConfigSpec

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class VideoMambaConfig(PreTrainedConfig):
    """Sizes of the video encoder; the defaults are VideoMamba-M for 8 frames of 224 x 224."""

    model_type = "mobile_videogpt_videomamba"
    base_config_key = "video_config"

    image_size: int = 224
    patch_size: int = 16
    hidden_size: int = 576
    num_hidden_layers: int = 32
    num_frames: int = 8  # temporal position embeddings: the most frames one clip may have
    state_size: int = 16
    conv_kernel: int = 4
    expand: int = 2
    layer_norm_epsilon: float = 1e-5
    num_channels: int = 3
    temporal_kernel: int = 1  # frames that one patch embedding sees (odd, stride 1); released: 1
    dt_rank: int = None  # type: ignore[assignment]  # becomes hidden_size / 16, rounded up
    initializer_range: float = 0.02
    position_initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        if self.dt_rank is None:
            self.dt_rank = math.ceil(self.hidden_size / 16)
        if self.image_size % self.patch_size:
            raise ValueError(
                f"VideoMamba image_size {self.image_size} is not a multiple of patch_size "
                f"{self.patch_size}; choose sizes that divide."
            )
        if self.temporal_kernel < 1 or self.temporal_kernel % 2 == 0:
            raise ValueError(
                f"VideoMamba temporal_kernel is {self.temporal_kernel}, but it must be odd and "
                "positive; use 1 or 3."
            )
        super().__post_init__(**kwargs)

    @property
    def intermediate_size(self) -> int:
        return self.expand * self.hidden_size

    @property
    def grid_size(self) -> int:
        return self.image_size // self.patch_size


_QWEN_COMMON = {
    "vocab_size": 151936,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    "bos_token_id": 151643,
    "eos_token_id": 151645,
}
QWEN_05B = {
    **_QWEN_COMMON,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "max_window_layers": 24,
}
QWEN_15B = {
    **_QWEN_COMMON,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "max_window_layers": 28,
}
CLIP_B16 = {"patch_size": 16}


class MobileVideoGPTConfig(PreTrainedConfig):
    """Configuration of the whole model; the defaults are the released 0.5B model.

    Layouts of the video tokens: ``"released"`` pools every kept frame to ``video_pool_grid``
    squared tokens, views the tokens of a chunk as one square grid and lets the projector pool that
    to ``video_token_grid`` squared (98 tokens); ``"paper"`` gives ``video_token_grid`` squared
    tokens per kept frame (392).

    For the ablations of the paper's table 3: ``encoders`` leaves out one branch with its tokens;
    ``frame_selection`` ``"uniform"`` and ``"random"`` look at nothing; ``video_passes`` lets an
    encoder for 8 frames read 16, every second frame in each pass.
    """

    model_type = "mobile_videogpt"
    sub_configs_defaults = {
        "image_config": SubConfigSpec(config_class=CLIPVisionConfig, init_kwargs=CLIP_B16),
        "video_config": SubConfigSpec(config_class=VideoMambaConfig),
        "text_config": SubConfigSpec(config_class=Qwen2Config, init_kwargs=QWEN_05B),
    }

    # A dictionary, or None for the defaults above, is made into a configuration.
    image_config: CLIPVisionConfig = None
    video_config: VideoMambaConfig = None  # type: ignore[assignment]
    text_config: Qwen2Config = None

    num_frames: int = 16
    frames_per_chunk: int = 8
    frames_kept_per_chunk: int = 4
    frame_selection: Literal["per_chunk", "global", "uniform", "random"] = "per_chunk"
    select_largest: bool = True
    encoders: Literal["both", "image", "video"] = "both"
    video_passes: int = 1  # pass p of P reads the kept frames p, p + P, p + 2 P and so on

    image_feature_layer: int = -2
    projector_type: Literal["etp", "mlp"] = "etp"
    image_token_grid: int = 12
    video_pool_grid: int = 7
    video_token_grid: int = 7
    video_token_layout: Literal["released", "paper"] = "released"

    video_token_id: int = 151656
    image_token_id: int = 151655  # placeholder of stills; a tokenizer may lack it until one is used
    pad_token_id: int | None = 151643
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02

    image_mean: list[float] | tuple[float, ...] = CLIP_MEAN
    image_std: list[float] | tuple[float, ...] = CLIP_STD
    image_interpolation: str = "bicubic"
    image_resize: str = "crop"  # shorter side, then centre crop
    video_mean: list[float] | tuple[float, ...] = IMAGENET_MEAN
    video_std: list[float] | tuple[float, ...] = IMAGENET_STD
    video_interpolation: str = "bilinear"  # straight to a square

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
        self._check_choices()
        self._check_frames()
        self._check_grids()

    def _check_choices(self) -> None:
        choices = {
            "frame_selection": ("per_chunk", "global", "uniform", "random"),
            "encoders": ("both", "image", "video"),
            "projector_type": ("etp", "mlp"),
            "video_token_layout": ("released", "paper"),
        }
        for field, allowed in choices.items():
            if (value := getattr(self, field)) not in allowed:
                names = ", ".join(allowed)
                raise ValueError(f"{field} is {value!r}, but it must be one of {names}.")

    def _check_frames(self) -> None:
        if self.num_frames % self.frames_per_chunk:
            raise ValueError(
                f"num_frames {self.num_frames} is not a multiple of frames_per_chunk "
                f"{self.frames_per_chunk}; change one of them."
            )
        if not 1 <= self.frames_kept_per_chunk <= self.frames_per_chunk:
            raise ValueError(
                f"frames_kept_per_chunk {self.frames_kept_per_chunk} must lie between 1 and "
                f"frames_per_chunk {self.frames_per_chunk}."
            )
        if self.video_passes < 1 or self.num_kept_frames % self.video_passes:
            raise ValueError(
                f"video_passes {self.video_passes} must divide the {self.num_kept_frames} kept "
                "frames; change one of them."
            )
        if self.num_kept_frames // self.video_passes > self.video_config.num_frames:
            raise ValueError(
                f"{self.num_kept_frames} kept frames do not fit the video encoder's num_frames "
                f"{self.video_config.num_frames}; raise the latter, keep fewer frames or raise "
                "video_passes."
            )
        if self.encoders == "video" and self.frame_selection not in ("uniform", "random"):
            raise ValueError(
                f"frame_selection {self.frame_selection!r} needs the image encoder's features, "
                "which encoders 'video' leaves out; use 'uniform'."
            )

    def _check_grids(self) -> None:
        tokens = self._video_tokens_per_projection
        if math.isqrt(tokens) ** 2 != tokens:
            raise ValueError(
                "The released layout needs a square number of tokens per chunk, but "
                f"{self.frames_kept_per_chunk} frames x {self.video_pool_grid}^2 = {tokens}; "
                "change video_pool_grid or use video_token_layout 'paper'."
            )

    @property
    def num_chunks(self) -> int:
        return self.num_frames // self.frames_per_chunk

    @property
    def num_kept_frames(self) -> int:
        return self.num_chunks * self.frames_kept_per_chunk

    @property
    def image_grid(self) -> int:
        """Patches along a side of the image encoder."""
        return self.image_config.image_size // self.image_config.patch_size

    @property
    def _video_tokens_per_projection(self) -> int:
        if self.video_token_layout == "paper":
            return self.video_config.grid_size**2
        return self.frames_kept_per_chunk * self.video_pool_grid**2

    @property
    def num_image_tokens(self) -> int:
        if self.encoders == "video":
            return 0
        grid = self.image_token_grid if self.projector_type == "etp" else self.image_grid
        return self.num_frames * grid**2

    @property
    def num_video_tokens(self) -> int:
        if self.encoders == "image":
            return 0
        groups = self.num_kept_frames if self.video_token_layout == "paper" else self.num_chunks
        if self.projector_type == "etp":
            return groups * self.video_token_grid**2
        return groups * self._video_tokens_per_projection

    @property
    def num_visual_tokens(self) -> int:
        return self.num_image_tokens + self.num_video_tokens

    def num_still_tokens(self, branch: str = "image") -> int:
        """Visual tokens of a single picture that goes through the image or the video branch.

        Raises:
            ValueError: for another branch.
        """
        if branch not in ("image", "video"):
            raise ValueError(f"still_branch is {branch!r}, but it must be 'image' or 'video'.")
        pooled = self.image_token_grid if branch == "image" else self.video_token_grid
        patches = self.image_grid if branch == "image" else self.video_config.grid_size
        return (pooled if self.projector_type == "etp" else patches) ** 2

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> "MobileVideoGPTConfig":
        """Return a fresh configuration by name.

        Args:
            name: one of ``PRESETS``.
            overrides: top-level fields to set differently.

        Raises:
            ValueError: for an unknown name.
        """
        if name not in PRESETS:
            raise ValueError(f"Unknown preset {name!r}; choose one of {', '.join(PRESETS)}.")
        return cls(**{**PRESETS[name], **overrides})


# What differs from the released behaviour when the paper's text is followed (its sections 3.2 and
# table 5).
_PAPER = {"frame_selection": "global", "video_token_layout": "paper"}

_MOVING_SHAPES = {
    "image_config": {
        "image_size": 48,
        "patch_size": 8,
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    },
    "video_config": {
        "image_size": 48,
        "patch_size": 8,
        "hidden_size": 96,
        "num_hidden_layers": 4,
        "state_size": 4,
        "temporal_kernel": 7,
        "position_initializer_range": 0.5,
    },
    "text_config": {
        "vocab_size": 192,
        "hidden_size": 128,
        "intermediate_size": 384,
        "initializer_range": 0.08,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 2,
    },
    "image_feature_layer": -1,
    "frame_selection": "per_chunk",
    "video_token_layout": "paper",
    "image_token_grid": 2,
    "video_token_grid": 3,
    "video_token_id": 5,
    "image_token_id": 189,
    "pad_token_id": 0,
}

PRESETS: dict[str, dict[str, Any]] = {
    "moving-shapes": _MOVING_SHAPES,
    "0.5b": {"text_config": QWEN_05B},
    "1.5b": {"text_config": QWEN_15B},
    "0.5b-paper": {"text_config": QWEN_05B, **_PAPER},
    "1.5b-paper": {"text_config": QWEN_15B, **_PAPER},
}

AutoConfig.register(VideoMambaConfig.model_type, VideoMambaConfig, exist_ok=True)
AutoConfig.register(MobileVideoGPTConfig.model_type, MobileVideoGPTConfig, exist_ok=True)
