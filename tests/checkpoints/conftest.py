"""A tiny random model, saved in our layout and in the released one."""

from pathlib import Path

import pytest
import torch
from tiny_checkpoints import released_config, save_clip, tiny_config, write_json

from mobile_videogpt.checkpoints import convert, to_released
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration


@pytest.fixture(scope="session")
def model() -> MobileVideoGPTForConditionalGeneration:
    torch.manual_seed(0)
    return MobileVideoGPTForConditionalGeneration(tiny_config()).eval()


@pytest.fixture
def ours(model, tmp_path) -> Path:
    """The model in our layout."""
    model.save_pretrained(tmp_path / "ours")
    return tmp_path / "ours"


@pytest.fixture
def converted(ours, tmp_path) -> Path:
    """The model in the released layout, as our converter writes it."""
    return convert(ours, tmp_path / "converted", to="released")


@pytest.fixture
def released(model, tmp_path) -> Path:
    """The model as the released code would save it: no field of ours, unused tensors, no CLIP."""
    state = to_released(model.state_dict())
    state = {n: t for n, t in state.items() if "image_vision_tower" not in n}
    del state["lm_head.weight"]
    decoder = "model.vision_tower.vision_encoder.clip_decoder.0."
    state[decoder + "head.weight"] = torch.randn(4, 16)
    state[decoder + "head.bias"] = torch.randn(4)
    clip = tmp_path / "clip"
    save_clip(model, clip)
    folder = tmp_path / "released"
    folder.mkdir()
    torch.save(state, folder / "pytorch_model.bin")
    write_json(folder / "config.json", released_config(model.config, image_tower=str(clip)))
    return folder
