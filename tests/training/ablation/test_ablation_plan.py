"""Variants as recipes: what trains, which features they share, what is refused."""

from pathlib import Path

import pytest
from small_ablation import write_ablation

from mobile_videogpt.training.ablation.plan import load_ablation
from mobile_videogpt.training.recipe import RecipeError

COMMITTED = Path(__file__).parents[3] / "configs" / "ablations.yaml"


def test_the_committed_ablation_has_every_variant_of_the_table():
    from mobile_videogpt.evaluation.ablation.table import columns

    ablation = load_ablation(COMMITTED)
    assert {column.variant for column in columns()} == set(ablation.variants)
    assert len(ablation.seeds) == 3
    tokens = {
        name: ablation.recipe(name, 0).config().num_visual_tokens for name in ablation.variants
    }
    assert tokens == {
        **{"dual": 136, "image-only": 64, "video-only": 72, "uniform": 136, "random": 136},
        **{"all-frames": 208, "released-layout": 82, "mlp": 864},
    }


def test_a_variant_skips_the_stage_of_the_branch_it_lacks(ablation):
    kinds = {
        variant: [stage.kind for stage in ablation.recipe(variant, 0).stages()]
        for variant in ("dual", "image-only", "video-only")
    }
    assert kinds == {
        "dual": ["image_projector", "video_projector", "instruct"],
        "image-only": ["image_projector", "instruct"],
        "video-only": ["video_projector", "instruct"],
    }


def test_equal_selections_share_their_features_and_the_first_one_is_the_starts(ablation, start):
    folders = {variant: ablation.features(variant) for variant in ablation.variants}
    assert folders["dual"] == folders["released-layout"] == start / "features"
    assert folders["image-only"] == folders["video-only"]
    assert len(set(folders.values())) == 4


def test_nothing_of_a_run_is_written_below_the_start(ablation, start):
    recipe = ablation.recipe("random", 1)
    assert recipe.start == start and recipe.seed == 1
    assert start not in (recipe.output, *recipe.output.parents)
    assert start not in (recipe.features, *recipe.features.parents)


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ("variants:\n  dual: {frame_selection: best}", "variant dual: frame_selection is 'best'"),
        ("variants:\n  dual: {encoders: video}", "variant dual: .* needs the image encoder"),
        ("variants:\n  dual: {}\nbudget: 3", "unknown field 'budget'"),
    ],
)
def test_an_ablation_that_cannot_work_is_refused_in_one_sentence(
    tmp_path, start, variants, message
):
    with pytest.raises(RecipeError, match=message):
        load_ablation(write_ablation(tmp_path, start, variants))


def test_a_missing_field_and_an_unknown_variant_are_named(tmp_path, start, ablation):
    path = write_ablation(tmp_path, start)
    path.write_text(path.read_text().replace("preset: moving-shapes\n", ""))
    with pytest.raises(RecipeError, match="lacks the field 'preset'"):
        load_ablation(path)
    with pytest.raises(RecipeError, match="no variant 'triple'; known: dual, image-only"):
        ablation.recipe("triple", 0)
