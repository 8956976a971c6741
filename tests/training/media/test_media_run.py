"""Stages from media, end to end on a random miniature: merging, resuming, loading, reports."""

import json

import pytest
import torch
from media_data import losses, mixed_rows, row, write_data, write_recipe
from safetensors.torch import load_file

from mobile_videogpt.checkpoints import load_model
from mobile_videogpt.training.media import run as media_run
from mobile_videogpt.training.media.recipe import load_media_recipe
from mobile_videogpt.training.runner import run

pytest.importorskip("peft")
STAGES = (
    {"kind": "image_projector"},
    {"kind": "video_projector", "global_batch_size": 4, "label_style": "released", "bf16": True},
    {
        "kind": "instruct",
        "projector_learning_rate": 1e-4,
        "gradient_checkpointing": True,
        "lora_alpha": 64,
    },
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of all three stages."""
    folder = tmp_path_factory.mktemp("media")
    write_data(folder / "data", mixed_rows(12))
    assert run(write_recipe(folder, *STAGES)) == folder / "out" / "model"
    return folder


def test_every_stage_leaves_what_it_trained_and_its_log(finished):
    out = finished / "out"
    assert (out / "0-image_projector" / "trained.safetensors").is_file()
    assert (out / "2-instruct" / "adapter" / "adapter_config.json").is_file()
    for stage in ("0-image_projector", "1-video_projector", "2-instruct"):
        rows = [
            entry
            for entry in json.loads((out / stage / "history.json").read_text())
            if "loss" in entry
        ]
        reported = {"grad_norm", "learning_rate", "samples_per_second", "peak_memory_bytes"}
        assert len(rows) == 2
        assert all(reported | {"visual_tokens_per_second"} <= entry.keys() for entry in rows)
        measures = json.loads((out / stage / "done.json").read_text())["measures"]
        assert measures["replaced_samples"] == 0 and measures["loss"] > 0
    assert rows[0]["projector_learning_rate"] == pytest.approx(1e-4)
    assert (out / "curves.png").stat().st_size > 10_000


def test_a_finished_run_is_not_trained_again(finished, monkeypatch):
    monkeypatch.setattr(media_run, "build_model", None)
    recipe = load_media_recipe(finished / "recipe.yaml")
    assert media_run.finished_stages(recipe) == list(recipe.stages)
    assert run(finished / "recipe.yaml", only="0-image_projector") == finished / "out"


def test_a_run_killed_before_its_last_word_says_it_when_started_again(finished):
    stage = finished / "out" / "1-video_projector"
    before = (stage / "trained.safetensors").read_bytes()
    (stage / "done.json").unlink()
    (stage / "trained.safetensors").unlink()
    run(finished / "recipe.yaml", only="1-video_projector")
    assert (stage / "trained.safetensors").read_bytes() == before
    assert (stage / "done.json").is_file()


def test_adapter_and_merged_model_say_the_same(finished):
    """Three roads: PEFT's forward, the adapter merged while loading, the saved whole model."""
    from peft import PeftModel

    out = finished / "out"
    base = media_run.checkpoint_after(out / "base", [])
    batch_model, processor = load_model(out / "model")
    frames = torch.randint(0, 256, (16, 48, 48, 3), dtype=torch.uint8).numpy()
    batch = processor(text=["what is it?"], videos=[frames], images=[frames[0]])
    peft_model = PeftModel.from_pretrained(
        media_run.build_model(base), out / "2-instruct" / "adapter"
    ).eval()
    with torch.no_grad():
        adapted = peft_model(**batch).logits
        merged = load_model(out / "2-instruct" / "adapter")[0](**batch).logits
        whole = batch_model(**batch).logits
        plain = media_run.build_model(base)(**batch).logits
    torch.testing.assert_close(merged, adapted, atol=1e-5, rtol=0)
    torch.testing.assert_close(whole, adapted, atol=1e-5, rtol=0)
    assert (plain - adapted).abs().max() > 1e-3  # else there was nothing to compare


def test_only_what_a_stage_trains_is_changed(finished):
    out = finished / "out"
    before = media_run.checkpoint_after(out / "base", []).tensors
    after = media_run.checkpoint_after(out / "base", [out / "0-image_projector"]).tensors
    changed = {n for n in before if not torch.equal(before[n].load(), after[n].load())}
    assert changed and all(name.startswith("image_projector.") for name in changed)


def test_a_stage_that_leaves_out_an_earlier_one_says_so(tmp_path, caplog):
    write_data(tmp_path / "data", mixed_rows(2))
    stages = ({"kind": "image_projector"}, {"kind": "video_projector", "steps": 1})
    run(write_recipe(tmp_path, *stages), only="1-video_projector")
    assert "starts without 0-image_projector" in caplog.text


class Killed(Exception):
    pass


def kill_after(monkeypatch, batches: int) -> None:
    """The data ends the process, as it were, when so many batches were made."""
    original = media_run.SampleCollator.__call__
    made = []

    def collate(self, rows):
        made.append(rows)
        if len(made) > batches:
            raise Killed
        return original(self, rows)

    monkeypatch.setattr(media_run.SampleCollator, "__call__", collate)


@pytest.mark.parametrize("kind", ["video_projector", "instruct"])
def test_a_killed_run_resumes_to_the_same_losses_and_weights(tmp_path, kind):
    write_data(tmp_path / "data", mixed_rows(12))
    stage = {
        "kind": kind,
        "steps": 4,
        "save_steps": 2,
        "global_batch_size": 4,
        "lora_dropout": 0.2,
    }
    run(write_recipe(tmp_path, stage, output=tmp_path / "whole"))
    recipe = write_recipe(tmp_path, stage, output=tmp_path / "killed")
    with pytest.MonkeyPatch.context() as patch:
        kill_after(patch, 6)
        with pytest.raises(Killed):
            run(recipe)
    checkpoints = tmp_path / "killed" / f"0-{kind}" / "checkpoints"
    assert (checkpoints / "checkpoint-2").is_dir()
    (checkpoints / "checkpoint-3").mkdir()  # as if killed again while it was written
    run(recipe)
    assert losses(tmp_path / "killed" / f"0-{kind}") == losses(tmp_path / "whole" / f"0-{kind}")
    before, _ = load_model(tmp_path / "whole" / "model")
    after, _ = load_model(tmp_path / "killed" / "model")
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name]), name


def test_the_loss_does_not_depend_on_how_a_step_is_cut(tmp_path):
    write_data(tmp_path / "data", mixed_rows(12))
    stage = {"kind": "instruct", "steps": 3, "global_batch_size": 4}
    runs = []
    for batch_size in (1, 4):
        output = tmp_path / f"by-{batch_size}"
        run(write_recipe(tmp_path, {**stage, "batch_size": batch_size}, output=output))
        runs.append(losses(output / "0-instruct"))
    assert runs[0] == pytest.approx(runs[1], abs=1e-5)


def test_the_built_in_model_goes_on_from_its_checkpoint_with_stills(tmp_path):
    """Whatever its vocabulary: a placeholder for stills is added where it is missing."""
    write_data(tmp_path / "data", mixed_rows(6))
    stages = ({"kind": "instruct"}, {"kind": "instruct", "name": "again"})
    run(write_recipe(tmp_path, *stages, model="moving-shapes"))
    model, processor = load_model(tmp_path / "out" / "model")
    batch = processor(text=["what is it?"], images=[tmp_path / "data" / "picture0.png"])
    with torch.no_grad():
        expected = model(**batch).logits
        again, _ = load_model(tmp_path / "out" / "again" / "adapter")  # merged twice
    torch.testing.assert_close(again(**batch).logits, expected, atol=2e-2, rtol=0)  # float16 base


def test_validation_ends_a_stage_at_its_best_checkpoint(tmp_path):
    """Unseen rows give another answer to the same questions: learning makes it worse there."""
    write_data(tmp_path / "data", [row(number, answer="yes") for number in range(6)])
    others = [row(number, answer="no") for number in range(4)]
    (tmp_path / "data" / "unseen.json").write_text(json.dumps(others))
    stage = {
        "kind": "instruct",
        "steps": 40,
        "save_steps": 4,
        "learning_rate": 1e-2,
        "validation": "data/unseen.json",
        "patience": 2,
        "save_total_limit": 9,
    }
    run(write_recipe(tmp_path, stage))
    folder = tmp_path / "out" / "0-instruct"
    history = json.loads((folder / "history.json").read_text())
    unseen = {entry["step"]: entry["eval_loss"] for entry in history if "eval_loss" in entry}
    best = min(unseen, key=unseen.__getitem__)
    assert max(unseen) == best + 8 < 40
    name = "adapter_model.safetensors"
    kept = load_file(folder / "checkpoints" / f"checkpoint-{best}" / name)
    trained = load_file(folder / "adapter" / name)
    assert trained.keys() == kept.keys()
    assert all(torch.equal(trained[key], kept[key]) for key in trained)
    measures = json.loads((folder / "done.json").read_text())["measures"]
    assert measures["validation_loss"] == unseen[best]
