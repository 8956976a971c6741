"""Recipes: the committed ones parse, mistakes are named."""

from pathlib import Path

import pytest

from mobile_videogpt.training.recipe import RecipeError, load_recipe

CONFIGS = Path(__file__).parents[2] / "configs"
STAGE = "name: a\nkind: instruct\nsteps: 1\nbatch_size: 1\nlearning_rate: 1.0e-3\n"


def test_the_built_in_models_recipe_has_the_papers_stages_in_order():
    names = [stage.name for stage in load_recipe(CONFIGS / "moving-shapes.yaml").stages()]
    paper = [n for n in names if not n.startswith("stage0-")]
    assert [n[:6] for n in paper] == ["stage1", "stage2", "stage3"]
    assert names[-3:] == paper


def test_every_stage_file_says_whom_it_follows():
    for stage in load_recipe(CONFIGS / "moving-shapes.yaml").stages():
        assert stage.source


def write(folder: Path, stage: str, top: str = "output: o\npreset: p\ntrain_clips: 1\n") -> Path:
    (folder / "stage.yaml").write_text(stage)
    recipe = folder / "recipe.yaml"
    recipe.write_text(f"{top}validation_clips: 1\nstages: [stage.yaml]\n")
    return recipe


def test_an_unknown_field_is_named(tmp_path):
    with pytest.raises(RecipeError, match="'learning_rat'"):
        load_recipe(write(tmp_path, STAGE + "learning_rat: 1\n"))


def test_a_missing_field_is_named(tmp_path):
    with pytest.raises(RecipeError, match="'preset'"):
        load_recipe(write(tmp_path, STAGE, "output: o\ntrain_clips: 1\n"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"nowhere\.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")
