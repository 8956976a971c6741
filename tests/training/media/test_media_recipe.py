"""Recipes that train from media: fields, defaults, and what mistakes are called."""

import pytest
import yaml
from media_data import write_recipe

from mobile_videogpt.training.media.recipe import (
    ModelParts,
    is_media_recipe,
    load_media_recipe,
)
from mobile_videogpt.training.recipe import RecipeError


def test_what_a_recipe_says_arrives(tmp_path):
    path = write_recipe(tmp_path, {"kind": "instruct", "learning_rate": "2e-4"})
    recipe = load_media_recipe(path)
    assert is_media_recipe(path)
    assert recipe.model == ModelParts("moving-shapes", random=True)
    (stage,) = recipe.stages
    assert stage.learning_rate == 2e-4  # YAML reads 2e-4 as text
    assert stage.data == tmp_path / "data" / "mixture.yaml"
    assert stage.still_branch == "image"
    assert recipe.stage("0-instruct") is stage


def test_a_checkpoint_may_be_named_instead_of_parts(tmp_path):
    recipe = load_media_recipe(
        write_recipe(tmp_path, {"kind": "video_projector"}, model="moving-shapes")
    )
    assert recipe.model == "moving-shapes"
    assert recipe.stages[0].still_branch == "video"


@pytest.mark.parametrize(
    "change, named",
    [
        ({"learning_rat": 1}, "'learning_rat'"),
        ({"kind": "dense_image"}, "'dense_image'"),
        ({"epochs": 1, "steps": 1}, "steps or epochs"),
        ({"label_style": "all"}, "'all'"),
        ({"bf16": "maybe"}, "'maybe'"),
        ({"batch_size": 0}, "batch_size 0"),
    ],
)
def test_mistakes_in_a_stage_are_named(tmp_path, change, named):
    write_recipe(tmp_path, {"kind": "instruct"})
    file = tmp_path / "stage0.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **change}))
    with pytest.raises(RecipeError, match=named) as caught:
        load_media_recipe(tmp_path / "recipe.yaml")
    assert "stage0.yaml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"preset": "moving-shapes"}, "'preset'"),
        ({"stages": []}, "names no stages"),
        ({"stages": ["stage0.yaml", "stage0.yaml"]}, "two stages of one name"),
        ({"model": {"presett": "0.5b"}}, "'presett'"),
    ],
)
def test_mistakes_in_a_recipe_are_named(tmp_path, change, named):
    path = write_recipe(tmp_path, {"kind": "instruct"})
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(RecipeError, match=named):
        load_media_recipe(path)


def test_the_global_batch_is_shared_out(tmp_path):
    path = write_recipe(
        tmp_path, {"kind": "instruct", "global_batch_size": 12, "epochs": 2, "logging_steps": 10}
    )
    (stage,) = load_media_recipe(path).stages
    assert stage.accumulation(1) == 6 and stage.accumulation(3) == 2
    assert stage.scheduled(samples_per_epoch=100, num_devices=3).steps == 17  # 200 / 12, up
    assert stage.scheduled(5, 3).logging_steps == 1  # of one step, not every tenth
    with pytest.raises(RecipeError, match=r"12, which is no multiple of batch_size 2 x 4"):
        stage.accumulation(4)
    assert stage.scheduled(100, 3).warmup_steps == 1  # 3 % of 17, up
