"""What `VideoMambaRunner` computes with, from a video encoder of torch: names and shapes of its
tensors, in the order in which its loops read them.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mobile_videogpt.engines.videomamba import VideoMambaRunner
from mobile_videogpt.models.videomamba import (
    BidirectionalMamba,
    MambaBranch,
    RMSNorm,
    VideoMambaBlock,
    VideoMambaEmbeddings,
    VideoMambaModel,
)

_MATRICES = ("to_x", "to_z", "out", "to_narrow", "to_step")
_OWN_MODULES = {
    *(VideoMambaModel, VideoMambaEmbeddings, VideoMambaBlock, BidirectionalMamba, MambaBranch),
    *(RMSNorm, nn.ModuleList, nn.Linear, nn.Conv1d, nn.Conv3d),
}


def fits_encoder(model: VideoMambaModel, frames: int) -> bool:
    """Whether a `VideoMambaRunner` can stand in for this encoder.

    Not with adapters around its layers, not with hooks, and in float32 only.
    """
    modules = list(model.modules())
    return (
        VideoMambaRunner.fits(model.config, frames)
        and all(type(m) in _OWN_MODULES for m in modules)
        and not any(m._forward_hooks or m._forward_pre_hooks for m in modules)
        and all(weight.dtype == torch.float32 for weight in model.parameters())
    )


@torch.no_grad()
def runner_tensors(model: VideoMambaModel, is_half: bool) -> dict[str, Tensor]:
    """The tensors of an encoder, wherever possible its own memory.

    Args:
        model: in float32, on the CPU.
        is_half: round the matrices to bfloat16.
    """
    embeddings = model.embeddings
    tensors = {
        "patches": embeddings.patch_embedding.weight,
        "patches_bias": cast(Tensor, embeddings.patch_embedding.bias),
        "class": embeddings.class_token[0],  # (1, D)
        "space": embeddings.position_embedding[0],  # (1 + N, D)
        "time": embeddings.temporal_embedding[0],  # (T, D)
        "norm": model.norm.weight,
    }
    for number, block in enumerate(cast(list[VideoMambaBlock], list(model.layers))):
        found = _block_tensors(block, is_half)
        tensors |= {f"{number}/{name}": tensor for name, tensor in found.items()}
    return {name: tensor.detach() for name, tensor in tensors.items()}


def write_runner_tensors(path: Path, model: VideoMambaModel, is_half: bool) -> None:
    """Write what `videomamba.open_runner` reads; arguments as in `runner_tensors`."""
    tensors = runner_tensors(model, is_half)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def _block_tensors(block: VideoMambaBlock, is_half: bool) -> dict[str, Tensor]:
    mixer = block.mixer
    to_x, to_z = mixer.in_proj.weight.chunk(2)
    branches = [_branch_tensors(b) for b in (mixer.forward_branch, mixer.backward_branch)]
    found = {name: torch.stack([b[name] for b in branches]) for name in branches[0]}
    found |= {"norm": block.norm.weight, "to_x": to_x, "to_z": to_z, "out": mixer.out_proj.weight}
    if is_half:
        found |= {name: found[name].bfloat16() for name in _MATRICES}
    return found


def _branch_tensors(branch: MambaBranch) -> dict[str, Tensor]:
    return {
        "taps": branch.conv1d.weight[:, 0].t(),  # (4, C), the oldest row's first
        "taps_bias": cast(Tensor, branch.conv1d.bias),
        "to_narrow": branch.x_proj.weight,  # (rank + 2 N, C)
        "to_step": branch.dt_proj.weight,  # (C, rank)
        "step_bias": branch.dt_proj.bias,
        "decay": -torch.exp(branch.A_log.float()),  # (C, N)
        "skip": branch.D,
    }
