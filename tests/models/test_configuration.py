"""Presets, and configurations that cannot work."""

import copy

import pytest
import torch
from small_model import tiny_config
from transformers import AutoConfig

from mobile_videogpt.config import PRESETS, MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration


@pytest.mark.parametrize(
    ("preset", "visual_tokens"),
    [("0.5b", 2402), ("1.5b", 2402), ("0.5b-paper", 2696), ("1.5b-paper", 2696)],
)
def test_visual_tokens_of_the_presets(preset, visual_tokens):
    config = MobileVideoGPTConfig.preset(preset)
    assert config.num_image_tokens == 2304
    assert config.num_visual_tokens == visual_tokens


@pytest.mark.parametrize(("preset", "released"), [("0.5b", 656605056), ("1.5b", 1710275072)])
def test_parameters_of_the_presets(preset, released):
    """The released count includes a decoder of VideoMamba's pretraining that nothing uses."""
    with torch.device("meta"):
        model = MobileVideoGPTForConditionalGeneration(MobileVideoGPTConfig.preset(preset))
    unused = 512 * 576 + 3 * 512
    assert sum(weight.numel() for weight in model.parameters()) == released - unused


def test_presets_are_fresh_and_survive_a_round_trip(tmp_path):
    for name in PRESETS:
        config = MobileVideoGPTConfig.preset(name)
        config.save_pretrained(tmp_path)
        loaded = AutoConfig.from_pretrained(tmp_path)
        assert type(loaded) is MobileVideoGPTConfig
        assert loaded.to_diff_dict() == config.to_diff_dict()
        assert copy.deepcopy(config).to_dict() == config.to_dict()
        config.text_config.vocab_size = 7
        assert MobileVideoGPTConfig.preset(name).text_config.vocab_size != 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_selection": "best"}, "frame_selection is 'best'"),
        ({"num_frames": 12}, "num_frames 12 is not a multiple"),
        ({"frames_kept_per_chunk": 9}, "frames_kept_per_chunk 9"),
        ({"frames_kept_per_chunk": 8}, "16 kept frames do not fit"),
        ({"frames_kept_per_chunk": 3}, "square number of tokens"),
        ({"encoders": "none"}, "encoders is 'none'"),
        ({"encoders": "video"}, "frame_selection 'per_chunk' needs the image encoder"),
        ({"video_passes": 3}, "video_passes 3 must divide the 8 kept frames"),
    ],
)
def test_configurations_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(**options)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match=r"Unknown preset '7b'; choose one of .*0\.5b"):
        MobileVideoGPTConfig.preset("7b")
