"""`finetune` and `data encode` from the command line."""

import json

import pytest

from mobile_videogpt.synthetic.dataset import write_dataset
from mobile_videogpt.training.finetune import FinetuneResult

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def test_options_reach_the_run_and_scores_are_printed(run, tmp_path, monkeypatch):
    given = []
    score = {"records": 10, "answers_right": 0.5, "tokens_right": 0.6, "loss": 1.0}
    scores = {"before": {"new": score}, "after": {"new": {**score, "answers_right": 0.9}}}

    def finetune(options, on_progress):
        given.append(options)
        return FinetuneResult(tmp_path / "model", tmp_path / "adapter", scores, {"steps": 3})

    monkeypatch.setattr("mobile_videogpt.training.finetune.finetune", finetune)
    (tmp_path / "clips.csv").write_text("video,question,answer\n")
    command = ("finetune", "--data", "clips.csv", "--output", "out")
    code, out, _ = run(*command)
    assert code == 0 and out.splitlines() == [
        "new data: 50.0% of 10 answers right before, 90.0% after",
        str(tmp_path / "model"),
    ]
    code, out, _ = run(*command, "--json", "--batch", 8, "--replay", "clips.csv", "--seed", 3)
    assert json.loads(out)["training"] == {"steps": 3}
    defaults, chosen = given
    assert (defaults.model, defaults.replay, defaults.epochs) == ("moving-shapes", None, 20)
    assert (chosen.global_batch_size, str(chosen.replay), chosen.seed) == (8, "clips.csv", 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "gone.csv", "--output", "out"), "no such annotation file or mixture: gone.csv"),
        (("--data", "gone.csv", "--output", "file"), "file is a file"),
        (("--data", "file", "--output", "out", "--replay-share", "1"), "between 0 and 1"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(run, tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    code, out, err = run("finetune", *arguments)
    assert (code, out) == (1, "") and message in err and err.count("\n") == 1


def test_features_are_encoded_once(run, tmp_path):
    write_dataset(tmp_path / "shapes", num_clips=2, seed=1)
    command = ("data", "encode", "shapes/annotations.json", "--json")
    code, out, _ = run(*command)
    figures = json.loads(out)
    assert code == 0 and (figures["media"], figures["encoded"]) == (2, 2)
    assert figures["folder"] == "annotations.features"
    assert json.loads(run(*command)[1])["encoded"] == 0
    next((tmp_path / "shapes" / "videos").glob("*.mp4")).write_bytes(b"not a video")
    assert run(*command)[0] == 1
