"""A run folder as stage 0 leaves it, with random weights instead of trained ones."""

from pathlib import Path

import torch

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.training.miniature.pretrain import save_part


def write_stage_zero(folder: Path) -> MobileVideoGPTForConditionalGeneration:
    """Write the three parts that stage 0 trains; returns the model that they are of."""
    torch.manual_seed(0)
    config = MobileVideoGPTConfig.preset("moving-shapes")
    model = MobileVideoGPTForConditionalGeneration(config)
    parts = {
        "image": model.image_encoder,
        "video": model.video_encoder,
        "language": model.language_model.model,
    }
    for name, part in parts.items():
        (folder / f"stage0-{name}").mkdir()
        save_part(part, folder / f"stage0-{name}")
    return model
