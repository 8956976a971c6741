"""VideoMamba, the video encoder of section 3.1: a bidirectional state-space model over all patches
of a clip.

Patches of every frame, a class token in front, spatial and temporal position embeddings, a stack of
residual bidirectional Mamba blocks, a last norm. Left out on purpose: stochastic depth (the encoder
is frozen in the paper's stages) and the distillation decoder of its pretraining, whose weights the
released files carry but never use.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput

from ..config import VideoMambaConfig
from .selective_scan import selective_scan_channels_last


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed and returned in float32: the residual stream's precision."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden.float() if hidden.dtype != torch.float64 else hidden
        return F.rms_norm(hidden, (hidden.shape[-1],), self.weight.to(hidden.dtype), self.eps)


class MambaBranch(nn.Module):
    """One direction: causal depthwise convolution, SiLU, then the selective scan with its
    input-dependent B, C, delta.

    The gate is left to the mixer, which shares it between the directions.
    """

    def __init__(self, channels: int, state_size: int, dt_rank: int, conv_kernel: int) -> None:
        super().__init__()
        self.sizes = (dt_rank, state_size, state_size)
        self.conv1d = nn.Conv1d(channels, channels, conv_kernel, groups=channels)
        self.x_proj = nn.Linear(channels, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(dt_rank, channels)
        self.A_log = nn.Parameter(torch.empty(channels, state_size))
        self.D = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, C) to (B, L, C)."""
        u = F.silu(self._causal_conv(x))
        dt, state_in, state_out = self.x_proj(u).split(self.sizes, dim=-1)
        return selective_scan_channels_last(
            u,
            self.dt_proj(dt),
            -torch.exp(self.A_log.float()),  # float32: exponents of a product over the whole length
            state_in,
            state_out,
            self.D,
            delta_softplus=True,
        )

    def _causal_conv(self, x: Tensor) -> Tensor:
        # As a 2-D convolution over (1, L) the channels may stay last in memory, many times faster
        # on a CPU.
        past = F.pad(x, (0, 0, self.conv1d.kernel_size[0] - 1, 0)).mT.unsqueeze(
            2
        )  # (B, C, 1, L + 3)
        weight, bias = self.conv1d.weight.unsqueeze(2), self.conv1d.bias
        return F.conv2d(past, weight, bias, groups=x.shape[-1]).squeeze(2).mT


class BidirectionalMamba(nn.Module):
    """The mixer: ``out_proj((forward(x) + flip(backward(flip(x)))) * silu(z))`` with ``x, z =
    in_proj(hidden)``.

    The sum is not halved, and input projection, gate and output projection are shared by both
    directions.
    """

    def __init__(
        self, dim: int, channels: int, state_size: int, dt_rank: int, conv_kernel: int
    ) -> None:
        super().__init__()
        self.in_proj = nn.Linear(dim, 2 * channels, bias=False)
        self.forward_branch = MambaBranch(channels, state_size, dt_rank, conv_kernel)
        self.backward_branch = MambaBranch(channels, state_size, dt_rank, conv_kernel)
        self.out_proj = nn.Linear(channels, dim, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        x, z = self.in_proj(hidden).chunk(2, dim=-1)  # (B, L, C) each
        y = self.forward_branch(x) + self.backward_branch(x.flip(1)).flip(1)
        return self.out_proj(y * F.silu(z))


class VideoMambaBlock(GradientCheckpointingLayer):
    """``hidden + mixer(norm(hidden))`` with the residual stream in float32."""

    def __init__(self, config: VideoMambaConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(config.hidden_size, config.layer_norm_epsilon)
        self.mixer = BidirectionalMamba(
            config.hidden_size,
            config.intermediate_size,
            config.state_size,
            config.dt_rank,
            config.conv_kernel,
        )

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.mixer(self.norm(hidden).to(self.mixer.in_proj.weight.dtype))


class VideoMambaEmbeddings(nn.Module):
    """Patch tokens of every frame, frame by frame, behind one class token, with positions."""

    def __init__(self, config: VideoMambaConfig) -> None:
        super().__init__()
        num_patches = config.grid_size**2
        self.patch_embedding = nn.Conv3d(
            config.num_channels,
            config.hidden_size,
            kernel_size=(config.temporal_kernel, config.patch_size, config.patch_size),
            stride=(1, config.patch_size, config.patch_size),
            padding=(config.temporal_kernel // 2, 0, 0),
        )
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.position_embedding = nn.Parameter(torch.zeros(1, 1 + num_patches, config.hidden_size))
        self.temporal_embedding = nn.Parameter(
            torch.zeros(1, config.num_frames, config.hidden_size)
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Map (B, T, 3, H, W) pixels to (B, 1 + T * N, D) tokens."""
        patches = self._embed_patches(pixel_values.transpose(1, 2))  # (B, D, T, H, W)
        patches = patches.flatten(3).permute(0, 2, 3, 1)  # (B, T, N, D)
        batch, frames = patches.shape[:2]
        class_position, patch_positions = self.position_embedding.split(
            (1, self.position_embedding.shape[1] - 1), dim=1
        )
        patches = patches + patch_positions.unsqueeze(1)
        if frames > 1:  # a still image has no place in time; the class token never has one
            patches = patches + self.temporal_embedding[:, :frames].unsqueeze(2)
        class_token = (self.class_token + class_position).expand(batch, -1, -1)
        return torch.cat((class_token, patches.flatten(1, 2)), dim=1)  # (B, 1 + T * N, D)

    def _embed_patches(self, frames: Tensor) -> Tensor:
        """Map (B, 3, T, H, W) pixels to (B, D, T, H, W) patches."""
        conv = self.patch_embedding
        reach = int(conv.padding[0])
        if frames.shape[2] > 1 or not reach:
            return conv(frames)
        # Around a still there is only padding. PyTorch's CPU kernel for bfloat16 crashes on that.
        return F.conv2d(
            frames[:, :, 0], conv.weight[:, :, reach], conv.bias, stride=conv.stride[1:]
        ).unsqueeze(2)


class VideoMambaModel(PreTrainedModel):
    """The video encoder: from a clip to a class token and the patch tokens of its frames."""

    config_class = VideoMambaConfig
    base_model_prefix = "video_encoder"
    main_input_name = "pixel_values"
    input_modalities = ("video",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["VideoMambaBlock"]
    _keys_to_ignore_on_load_unexpected = [r"clip_decoder\."]
    _supports_sdpa = True  # there is no attention here: any implementation may be asked for
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: VideoMambaConfig) -> None:
        super().__init__(config)
        self.embeddings = VideoMambaEmbeddings(config)
        self.layers = nn.ModuleList(
            VideoMambaBlock(config) for _ in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.layer_norm_epsilon)
        self.register_load_state_dict_pre_hook(_drop_unused)
        self.post_init()

    def forward(
        self, pixel_values: Tensor, output_hidden_states: bool = False, **kwargs: Any
    ) -> BaseModelOutput:
        """Encode clips.

        Args:
            pixel_values: (B, T, 3, H, W), normalised, with 1 <= T <= ``config.num_frames``.
            output_hidden_states: also return the residual stream before every block and after the
                last.

        Returns:
            ``last_hidden_state`` (B, 1 + T * N, D) in float32: the class token, then the tokens
            frame by frame in row-major patch order.

        Raises:
            ValueError: if the frames do not fit the configuration.
        """
        self._check_pixels(pixel_values)
        weight = self.embeddings.patch_embedding.weight
        hidden = self.embeddings(pixel_values.to(weight.dtype))
        hidden = hidden.float() if hidden.dtype != torch.float64 else hidden
        streams = [hidden]
        for layer in self.layers:
            hidden = layer(hidden)
            if output_hidden_states:
                streams.append(hidden)
        return BaseModelOutput(
            last_hidden_state=self.norm(hidden),
            hidden_states=tuple(streams) if output_hidden_states else None,
        )

    def _check_pixels(self, pixel_values: Tensor) -> None:
        config = self.config
        size = config.image_size
        shape = tuple(pixel_values.shape)
        if len(shape) != 5 or shape[2:] != (config.num_channels, size, size):
            raise ValueError(
                "The video encoder takes pixels of shape (batch, frames, "
                f"{config.num_channels}, {size}, {size}), but got {shape}."
            )
        if not 1 <= shape[1] <= config.num_frames:
            raise ValueError(
                f"The video encoder takes 1 to {config.num_frames} frames at once, but got "
                f"{shape[1]}."
            )

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Mamba's own initialisation; ``init`` leaves alone what a checkpoint has filled."""
        config = self.config
        if isinstance(module, VideoMambaEmbeddings):
            init.normal_(module.class_token, std=config.initializer_range)
            init.normal_(module.position_embedding, std=config.position_initializer_range)
            init.normal_(module.temporal_embedding, std=config.position_initializer_range)
        elif isinstance(module, MambaBranch):
            state_numbers = torch.arange(1, module.A_log.shape[1] + 1, dtype=torch.float32)
            init.copy_(module.A_log, state_numbers.log().expand_as(module.A_log))
            init.ones_(module.D)
            init.copy_(module.dt_proj.bias, _initial_dt_bias(module.dt_proj.bias.shape[0]))
            bound = module.dt_proj.in_features**-0.5
            init.uniform_(module.dt_proj.weight, -bound, bound)
        elif isinstance(module, RMSNorm):
            init.ones_(module.weight)
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv3d):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            if module.bias is not None:
                init.zeros_(module.bias)


def _drop_unused(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Skip the decoder of the pretraining, which released files hold and nothing uses."""
    for name in [n for n in state_dict if n.startswith(f"{prefix}clip_decoder.")]:
        del state_dict[name]


def _initial_dt_bias(channels: int, smallest: float = 1e-3, largest: float = 0.1) -> Tensor:
    """Biases whose softplus is spread log-uniformly over the usual step sizes."""
    span = math.log(largest) - math.log(smallest)
    steps = torch.exp(torch.rand(channels) * span + math.log(smallest)).clamp(min=1e-4)
    return steps + torch.log(-torch.expm1(-steps))  # the inverse of softplus
