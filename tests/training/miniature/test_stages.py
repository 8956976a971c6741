"""What trains in each stage, LoRA's merge, gates and resuming, on random miniature weights."""

import json

import numpy as np
import pytest
import torch
from in_this_process import stay_in_this_process
from stage_zero import write_stage_zero

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.training import runner
from mobile_videogpt.training.miniature import instruct
from mobile_videogpt.training.miniature.clips import ClipCache
from mobile_videogpt.training.recipe import Recipe, RecipeError, Stage

pytest.importorskip("peft")


def stage(kind: str, **values) -> Stage:
    defaults = {"name": f"test-{kind}", "steps": 2, "batch_size": 2, "learning_rate": 1e-3}
    return Stage(kind=kind, **{**defaults, "questions_per_clip": 3, "warmup_steps": 1, **values})


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Recipe:
    """A run folder with eight rendered clips and stage 0 done, on random weights."""
    output = tmp_path_factory.mktemp("run")
    config = write_stage_zero(output).config
    with pytest.MonkeyPatch.context() as patch:
        stay_in_this_process(patch)
        for split in ("train", "validation"):
            list(ClipCache(output / "clips" / split, config, 8, split).render(1))
    return Recipe(output / "recipe.yaml", output, "moving-shapes", 0, 8, 8, ())


@pytest.fixture(autouse=True)
def few_questions(monkeypatch):
    original = instruct._unseen

    def short(*arguments):
        data = original(*arguments)
        data.order.num_samples = 4
        return data

    monkeypatch.setattr(instruct, "_unseen", short)


def changed(before: dict, after: dict) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("part", ["image_projector", "video_projector"])
def test_stages_one_and_two_train_one_projector_and_nothing_else(recipe, part, monkeypatch):
    seen = {}
    original = instruct.train_stage

    def spy(stage, model, *rest):
        before = {n: p.clone() for n, p in model.named_parameters()}
        history = original(stage, model, *rest)
        seen["changed"] = changed(before, dict(model.named_parameters()))
        return history

    monkeypatch.setattr(instruct, "train_stage", spy)
    one = stage(part, name=f"spy-{part}")
    (recipe.output / one.name).mkdir(exist_ok=True)
    getattr(instruct, f"run_{part}")(recipe, one, recipe.output / one.name)
    assert seen["changed"]
    assert all(name.startswith(part) for name in seen["changed"])


def test_stage_three_trains_lora_and_both_projectors_and_merges_exactly(recipe, monkeypatch):
    seen = {}
    original = instruct.train_stage

    def spy(stage, model, dataset, collate, *rest):
        before = {n: p.clone() for n, p in model.named_parameters()}
        history = original(stage, model, dataset, collate, *rest)
        seen["changed"] = changed(before, dict(model.named_parameters()))
        batch = collate([dataset[0], dataset[1]])
        model.eval()
        with torch.no_grad():
            seen["batch"], seen["logits"] = batch, model(**batch).logits
        return history

    monkeypatch.setattr(instruct, "train_stage", spy)
    one = stage("instruct", name="spy-instruct", lora_rank=4, lora_alpha=8)
    folder = recipe.output / one.name
    folder.mkdir(exist_ok=True)
    instruct.run_instruct(recipe, one, folder)
    assert all("lora_" in n or "_projector" in n for n in seen["changed"])
    assert any("lora_" in n for n in seen["changed"])
    assert {"image_projector", "video_projector"} <= {
        p for n in seen["changed"] for p in ("image_projector", "video_projector") if p in n
    }
    merged = instruct.final_model(recipe, one.name)
    with torch.no_grad():
        logits = merged(**seen["batch"]).logits
    torch.testing.assert_close(logits, seen["logits"], atol=1e-5, rtol=1e-4)


def test_a_stage_below_its_gate_stops_the_run_and_names_the_measure():
    with pytest.raises(RecipeError, match=r"accuracy 0\.500 .* needs 0\.9"):
        runner._check_gate(stage("instruct", gate={"accuracy": 0.9}), {"accuracy": 0.5})


def test_a_killed_stage_resumes_to_the_same_weights(recipe, monkeypatch):
    from safetensors.torch import load_file

    def train(name: str) -> dict[str, torch.Tensor]:
        one = stage("image_projector", name=name, steps=4, save_steps=2)
        folder = recipe.output / name
        folder.mkdir(exist_ok=True)
        torch.manual_seed(0)
        instruct.run_image_projector(recipe, one, folder)
        return load_file(folder / "model.safetensors")

    whole = train("whole")
    original = instruct.FeatureCollator.__call__
    batches = []

    def killed(self, samples):
        batches.append(samples)
        if len(batches) == 4:
            raise KeyboardInterrupt
        return original(self, samples)

    monkeypatch.setattr(instruct.FeatureCollator, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        train("killed")
    monkeypatch.setattr(instruct.FeatureCollator, "__call__", original)
    assert (recipe.output / "killed" / "checkpoints" / "checkpoint-2").is_dir()
    resumed = train("killed")
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value)


def test_rendering_resumes_and_gives_what_one_go_gives(tmp_path):
    config = MobileVideoGPTConfig.preset("moving-shapes")
    cache = ClipCache(tmp_path / "a", config, 3, "train")
    list(cache.render(1))
    (tmp_path / "a" / "done.json").write_text("[]")  # as if killed before the block was marked
    first = np.array(cache["image"])
    list(ClipCache(tmp_path / "a", config, 3, "train").render(1))
    np.testing.assert_array_equal(first, np.load(tmp_path / "a" / "image.npy"))
    assert json.loads((tmp_path / "a" / "done.json").read_text()) == [0]
