"""A small random model and a batch for it."""

import pytest
import torch
from small_model import left_padded, pixels, prompt, random_model, tiny_config

from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration


@pytest.fixture(scope="module")
def model() -> MobileVideoGPTForConditionalGeneration:
    return random_model(tiny_config())


@pytest.fixture(scope="module")
def batch(model) -> dict[str, torch.Tensor]:
    """A video, text only, and another video with a shorter question."""
    rows = [prompt(model, 1, 9, 1), prompt(model, 0, 30, 2), prompt(model, 1, 4, 3)]
    return {**left_padded(rows), **pixels(2)}
