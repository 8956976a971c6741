"""The commands around MovingShapes: `data` and `eval`; `train` as far as it needs no training."""

import json

from mobile_videogpt.cli import train


def test_data_writes_clips_that_ask_can_open(run, tmp_path):
    out = tmp_path / "set"
    assert run("data", "moving-shapes", out, "--clips", 2, "--seed", 5) == (0, f"{out}\n", "")
    videos = sorted(out.rglob("*.mp4"))
    assert len(videos) == 2 and json.loads((out / "annotations.json").read_text())


def test_data_refuses_a_file_as_folder_and_a_negative_seed(run, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = run("data", "moving-shapes", tmp_path / "file")
    assert (code, out) == (1, "") and "is a file" in err
    code, out, err = run("data", "moving-shapes", tmp_path / "set", "--clips", 1, "--seed", "-1")
    assert (code, out) == (1, "") and err.count("\n") == 1


def test_eval_prints_a_table_or_the_report(run, lively_chat, monkeypatch, tmp_path):
    from mobile_videogpt.evaluation import moving_shapes

    monkeypatch.setattr(moving_shapes, "VideoChat", lambda *args, **options: lively_chat)
    output = tmp_path / "report.json"
    arguments = ("eval", "moving-shapes", "--limit", 12, "--seed", 3, "--output", output)
    code, out, _ = run(*arguments, "--json")
    report = json.loads(out)
    assert code == 0 and report == json.loads(output.read_text())
    assert report["seed"] == 3 and 0 < report["questions"] <= 12
    code, out, _ = run(*arguments)
    assert (
        code == 0 and "multiple choice" in out and all(name in out for name in report["families"])
    )


def test_train_says_which_extra_is_missing(run, monkeypatch, tmp_path):
    config = tmp_path / "recipe.yaml"
    config.write_text("stages: []")

    def run_without_peft(*args, **options):
        raise ModuleNotFoundError("No module named 'peft'", name="peft")

    monkeypatch.setattr("mobile_videogpt.training.run", run_without_peft)
    code, out, err = run("train", config)
    assert (code, out) == (1, "") and "'peft'" in err and "mobile-videogpt[train]" in err


def test_train_hands_over_recipe_and_stage_and_prints_the_folder(run, monkeypatch, tmp_path):
    config = tmp_path / "recipe.yaml"
    config.write_text("stages: []")
    called = []
    monkeypatch.setattr(
        "mobile_videogpt.training.run",
        lambda path, only=None: called.append((path, only)) or "runs/model",
    )
    assert run("train", config, "--only", "stage1")[:2] == (0, "runs/model\n")
    assert called == [(str(config), "stage1")] and train.run


def test_a_broken_recipe_is_one_line(run, tmp_path):
    config = tmp_path / "recipe.yaml"
    config.write_text("[not, a, recipe")
    code, out, err = run("train", config)
    assert (code, out) == (1, "") and err.count("\n") == 1
