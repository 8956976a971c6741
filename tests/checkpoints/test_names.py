"""The table of names covers every tensor of both released sizes, in both directions."""

import json
from pathlib import Path

import pytest
import torch

from mobile_videogpt.checkpoints import CheckpointError, from_released, to_released
from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration

RECORDED = json.loads(
    (Path(__file__).parent.parent / "data" / "golden" / "state_dict_keys.json").read_text()
)
MIXER = "vision_encoder.layers.3.mixer."
OUR_MIXER = "video_encoder.layers.3.mixer."


@pytest.fixture(params=["0.5B", "1.5B"])
def released_shapes(request) -> tuple[str, dict[str, tuple[int, ...]]]:
    size = RECORDED["sizes"][request.param]
    tensors = {**size["parameters"], **size["image_tower_parameters"]}
    return request.param.lower(), {name: tuple(shape) for name, shape in tensors.items()}


def test_every_released_tensor_has_a_place_in_the_model(released_shapes):
    preset, shapes = released_shapes
    with torch.device("meta"):
        model = MobileVideoGPTForConditionalGeneration(MobileVideoGPTConfig.preset(preset))
    ours = from_released(shapes)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    unused = ours.keys() - wanted.keys()
    assert wanted == {name: shape for name, shape in ours.items() if name not in unused}
    assert len(unused) == 4
    assert all(name.startswith("video_encoder.clip_decoder.0.") for name in unused)

    meta = {name: torch.empty(shape, device="meta") for name, shape in ours.items()}
    model.load_state_dict(meta, assign=True)  # strict


def test_names_survive_the_way_there_and_back(released_shapes):
    _, shapes = released_shapes
    assert list(to_released(from_released(shapes)).items()) == list(shapes.items())


def test_a_part_of_a_dictionary_is_renamed_alone():
    assert from_released({"model.norm.weight": 1}) == {"language_model.model.norm.weight": 1}
    assert to_released({"language_model.lm_head.weight": 2}) == {"lm_head.weight": 2}


@pytest.mark.parametrize(
    ("released", "ours"),
    [
        ("A_b_log", "backward_branch.A_log"),
        ("D", "forward_branch.D"),
        ("conv1d_b.bias", "backward_branch.conv1d.bias"),
        ("dt_proj.weight", "forward_branch.dt_proj.weight"),
    ],
)
def test_directions_of_the_mixer(released, ours):
    assert from_released({f"model.vision_tower.{MIXER}{released}": 0}) == {f"{OUR_MIXER}{ours}": 0}


def test_files_of_the_released_training_are_understood():
    files = RECORDED["training_files"]
    stage1 = from_released(files["stage1_mm_projector_bin"])
    stage2 = from_released(files["stage2_mm_projector_bin"])
    stage3 = from_released(files["stage3_non_lora_trainables_bin"])
    assert stage1.keys() | stage2.keys() == stage3.keys()
    assert all(name.startswith("video_projector.") for name in stage1)
    assert all(name.startswith("image_projector.") for name in stage2)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (f"{MIXER}D", f"{OUR_MIXER}forward_branch.D"),
        ("vision_tower.vision_model.pre_layrnorm.bias", "image_encoder.pre_layrnorm.bias"),
        ("mm_projector.mlp.mlp.0.weight", "video_projector.ffn.0.weight"),
        (
            "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight",
            "language_model.model.layers.1.mlp.up_proj.lora_A.weight",
        ),
    ],
)
def test_names_of_single_towers_and_of_adapters(name, ours):
    assert from_released({name: 0}) == {ours: 0}


@pytest.mark.parametrize("rename", [from_released, to_released])
def test_unknown_names_are_named(rename):
    with pytest.raises(CheckpointError, match=r"1 tensor names .* \(transformer\.wte\.weight\)"):
        rename({"transformer.wte.weight": 0})
