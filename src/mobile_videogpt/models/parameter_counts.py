"""How many parameters each box of Figure 2 has, counted without allocating any."""

from __future__ import annotations

import torch

from ..config import MobileVideoGPTConfig
from .mobile_videogpt import MobileVideoGPTForConditionalGeneration

PARTS = (
    "image_encoder",
    "video_encoder",
    "image_projector",
    "video_projector",
    "language_model",
)


def count_parameters(config: MobileVideoGPTConfig) -> dict[str, int]:
    """Parameters of each part, counted on the meta device: nothing is allocated.

    Tied weights count once.
    """
    with torch.device("meta"):
        model = MobileVideoGPTForConditionalGeneration(config)
    return {
        part: sum(weight.numel() for weight in getattr(model, part).parameters()) for part in PARTS
    }
