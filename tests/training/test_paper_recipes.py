"""The committed full-size recipes: they parse, name their sources, and hold the paper's values."""

import re
from pathlib import Path

import pytest
import yaml

from mobile_videogpt.config import PRESETS
from mobile_videogpt.training.media.recipe import KINDS, MediaRecipe, load_media_recipe

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = ("0.5b", "1.5b", "0.5b-released", "1.5b-released")


def recipe(name: str) -> MediaRecipe:
    return load_media_recipe(CONFIGS / "paper" / f"{name}.yaml")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_three_stages_whose_data_is_there(name):
    found = recipe(name)
    assert found.model.preset in PRESETS and found.model.preset in found.path.name
    assert sorted(stage.kind for stage in found.stages) == sorted(KINDS)
    assert found.stages[-1].kind == "instruct"
    for stage in found.stages:
        assert stage.data.is_file(), stage.data
        assert stage.accumulation(8) >= 1


def test_the_papers_values_are_table_four():
    for stage in recipe("0.5b").stages:
        is_tuning = stage.kind == "instruct"
        assert stage.global_batch_size == (64 if is_tuning else 128)
        assert stage.learning_rate == (2e-4 if is_tuning else 1e-3)
        assert (stage.warmup_ratio, stage.epochs, stage.weight_decay) == (0.03, 2, 0)
    assert (stage.lora_rank, stage.lora_alpha, stage.projector_learning_rate) == (128, 256, None)
    assert [s.kind for s in recipe("1.5b").stages] == list(KINDS)


def test_the_released_scripts_differ_where_the_documentation_says():
    video, image, tuning = recipe("0.5b-released").stages
    assert (video.kind, image.kind) == ("video_projector", "image_projector")
    sizes = [stage.global_batch_size for stage in (image, video, tuning)]
    assert sizes == [128, 256, 128]
    assert tuning.projector_learning_rate == 2e-5


def test_the_example_of_the_documentation_starts_from_the_built_in_model():
    example = load_media_recipe(CONFIGS / "from-media.yaml")
    assert example.model == "moving-shapes"
    (stage,) = example.stages
    assert stage.data.resolve() == CONFIGS.parent / "data/moving-shapes/annotations.json"


@pytest.mark.parametrize("file", sorted((CONFIGS / "paper").glob("*stage*.yaml")), ids=str)
def test_every_value_says_where_it_is_from(file):
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    plain = ("name:", "kind:", "source:", "data:")
    for line in lines:
        assert line.startswith(plain) or re.search(
            r"# .*(paper|[Tt]able 4|section|appendix|ours|released)", line
        )


@pytest.mark.parametrize("name", ["ddp", "fsdp", "zero2"])
def test_accelerate_understands_the_launch_configurations(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(CONFIGS / "accelerate" / f"{name}.yaml"))
    assert config.num_processes == 8


def test_fsdp_makes_units_only_of_layers_that_every_batch_runs():
    raw = yaml.safe_load((CONFIGS / "accelerate" / "fsdp.yaml").read_text())["fsdp_config"]
    assert raw["fsdp_transformer_layer_cls_to_wrap"] == "Qwen2DecoderLayer"
    assert raw["fsdp_version"] == 2  # version 1 would give PEFT's modules units of their own
