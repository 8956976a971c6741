"""What trains in each stage, by name; how much; at which rate."""

import json
from pathlib import Path

import pytest
import torch

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.training.media.parameters import (
    choose_trainable,
    count_parameters,
    freeze_dtype,
    parameter_groups,
    report_trainable,
    trainable_names,
)
from mobile_videogpt.training.media.recipe import MediaStage

pytest.importorskip("peft")

PROJECTOR = ("ffn.0.weight", "ffn.0.bias", "ffn.2.weight", "ffn.2.bias")
PROJECTOR = (*PROJECTOR, "position_encoder.weight", "position_encoder.bias")
ADAPTED = [f"self_attn.{name}_proj" for name in "qkvo"]
ADAPTED += [f"mlp.{name}_proj" for name in ("gate", "up", "down")]


def prepared(kind: str, **values) -> tuple[torch.nn.Module, MediaStage]:
    stage = MediaStage("s", kind, Path("d"), 1e-3, 1, steps=1, lora_rank=4, **values)
    config = MobileVideoGPTConfig.preset("moving-shapes")
    return choose_trainable(MobileVideoGPTForConditionalGeneration(config), stage), stage


@pytest.mark.parametrize("kind", ["image_projector", "video_projector"])
def test_a_projector_stage_trains_that_projector_alone(kind):
    model, _ = prepared(kind)
    assert set(trainable_names(model, kind)) == {f"{kind}.{name}" for name in PROJECTOR}


def test_the_instruction_stage_trains_both_projectors_and_lora_on_every_layer():
    model, _ = prepared("instruct")
    expected = {
        f"base_model.model.{part}.modules_to_save.default.{name}"
        for part in ("image_projector", "video_projector")
        for name in PROJECTOR
    }
    expected |= {
        f"base_model.model.language_model.model.layers.{layer}.{module}.lora_{half}.default.weight"
        for layer in range(4)
        for module in ADAPTED
        for half in "AB"
    }
    assert set(trainable_names(model, "instruct")) == expected


def test_a_stranger_that_trains_is_refused():
    model, _ = prepared("image_projector")
    model.video_encoder.norm.weight.requires_grad_(True)
    with pytest.raises(ValueError, match=r"video_encoder\.norm\.weight trains"):
        trainable_names(model, "image_projector")


def test_what_trains_is_printed_and_saved(tmp_path, caplog):
    model, stage = prepared("instruct")
    with caplog.at_level("INFO"):
        names = report_trainable(model, stage, tmp_path)
    saved = json.loads((tmp_path / "trainable.json").read_text())
    assert saved["names"] == names and saved["patterns"]
    counts = saved["parameters"]
    projector = 96 * 128 + 128 + 128 * 128 + 128 + 128 * 9 + 128
    assert counts["image_projector"] == {"trained": projector, "frozen": 0}
    assert counts["image_encoder"]["trained"] == 0
    assert counts["lora"]["trained"] == sum(
        weight.numel() for name, weight in model.named_parameters() if "lora_" in name
    )
    assert f"{projector:,}" in caplog.text and "lora" in caplog.text


def test_counts_of_a_whole_model_are_its_parameters():
    config = MobileVideoGPTConfig.preset("moving-shapes")
    model = MobileVideoGPTForConditionalGeneration(config)
    counts = count_parameters(model)
    total = sum(count["trained"] for count in counts.values())
    assert total == sum(weight.numel() for weight in model.parameters())


def test_projectors_have_a_rate_of_their_own():
    model, _ = prepared("instruct")
    lora, projectors = parameter_groups(dict(model.named_parameters()), 2e-4, 2e-5)
    assert (lora["lr"], projectors["lr"]) == (2e-4, 2e-5)
    assert len(projectors["params"]) == 2 * len(PROJECTOR)
    (all_of_them,) = parameter_groups(dict(model.named_parameters()), 2e-4, None)
    assert len(all_of_them["params"]) == len(lora["params"]) + len(projectors["params"])


def test_frozen_weights_may_be_halved_what_trains_may_not():
    model, _ = prepared("instruct")
    freeze_dtype(model, torch.bfloat16)
    for name, weight in model.named_parameters():
        assert weight.dtype == (torch.float32 if weight.requires_grad else torch.bfloat16), name
