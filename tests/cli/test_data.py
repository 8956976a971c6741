"""`data check`, `data stats` and `data convert` from the command line."""

import json

import pytest

from mobile_videogpt.synthetic.dataset import write_dataset
from mobile_videogpt.training.data import read_annotations

pytestmark = pytest.mark.usefixtures("in_tmp_path")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Two clips with their questions, as `data moving-shapes` writes them."""
    return write_dataset(tmp_path_factory.mktemp("shapes"), num_clips=2, seed=1)


def test_check_of_a_sound_set(run, shapes, tmp_path):
    code, out, err = run("data", "check", shapes / "annotations.json", "--workers", 1)
    assert code == 0 and err == ""
    figures = dict(line.split() for line in out.splitlines()[:6])
    assert figures["usable"] == figures["entries"] and figures["decoded"] == "2"
    assert out.splitlines()[6:] == [
        "annotations.check/report.html",
        "annotations.check/cleaned.json",
    ]
    folder = tmp_path / "annotations.check"
    assert {path.name for path in folder.iterdir()} == {
        "report.html",
        "report.json",
        "cleaned.json",
        "probes.jsonl",
    }
    # Again: everything is remembered, and the report is the same.
    code, out, _ = run("data", "check", shapes / "annotations.json", "--json")
    assert code == 0 and json.loads(out) == json.loads((folder / "report.json").read_text())


def test_check_of_a_damaged_set_exits_with_1(run, shapes, tmp_path):
    entries = json.loads((shapes / "annotations.json").read_text())
    path = shapes / "damaged.json"
    path.write_text(json.dumps([{**entries[0], "video": "videos/gone.mp4"}, *entries[1:]]))
    out_folder = tmp_path / "deep" / "out"
    code, out, err = run("data", "check", path, "--output", out_folder, "--sample", 1, "--json")
    report = json.loads(out)
    assert code == 1 and err.strip().endswith(f"1 of {len(entries)} entries cannot be used")
    assert list(report["found"]) == ["missing"] and report["decoded"] == 1
    assert len(read_annotations(out_folder / "cleaned.json")) == len(entries) - 1


def test_a_config_that_cannot_be_used_is_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "a.json").write_text('[\n{"id": }]')
    for arguments, message in (
        (("check", tmp_path / "none.json"), "no such mixture or annotation file"),
        (("check", tmp_path / "a.json"), "a.json line 2 column 8 is not JSON"),
        (("check", tmp_path / "a.json", "--output", tmp_path / "file"), "is a file"),
        (("check", tmp_path / "a.json", "--seed", "-1"), "--seed is -1"),
        (("stats", tmp_path / "none.yaml"), "No mixture at"),
        (("convert", tmp_path / "none.json", tmp_path / "b.csv"), "No annotation file at"),
    ):
        code, out, err = run("data", *arguments)
        assert (code, out) == (1, "") and err.count("\n") == 1 and message in err
    with pytest.raises(SystemExit) as stop:
        run("data", "check", tmp_path / "a.json", "--all", "--sample", 3)
    assert stop.value.code == 2


def test_stats_as_text_and_as_json(run, shapes):
    code, out, err = run("data", "stats", shapes / "annotations.json")
    assert code == 0 and err == "" and "commonest answers" in out and "moving_direction" in out
    code, out, _ = run("data", "stats", shapes / "annotations.json", "--json")
    statistics = json.loads(out)
    entries = json.loads((shapes / "annotations.json").read_text())
    assert statistics["all"]["records"] == len(entries) == statistics["samples_per_epoch"]
    assert statistics["all"]["files"] == 2
    assert sum(statistics["all"]["labels"]["family"].values()) == len(entries)


def test_convert_there_and_back(run, shapes, tmp_path):
    code, out, err = run(
        "data", "convert", shapes / "annotations.json", "m.jsonl", "--to", "messages"
    )
    assert (code, out) == (0, "m.jsonl\n") and "entries" in err
    assert run("data", "convert", "m.jsonl", "back.json")[0] == 0
    before = read_annotations(shapes / "annotations.json")
    after = read_annotations(tmp_path / "back.json")
    assert [(r.id, [t.text for t in r.turns]) for r in after] == [
        (r.id, [t.text for t in r.turns]) for r in before
    ]
    for one, other in zip(before, after, strict=True):
        assert one.media[0].path.samefile(other.media[0].path)


def test_convert_to_a_table_refuses_dialogues(run, shapes):
    code, out, err = run("data", "convert", shapes / "annotations.json", "t.csv")
    assert (code, out) == (1, "") and "use llava or messages" in err


def test_convert_lenient_adds_the_tag(run, tmp_path):
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "This."}]
    (tmp_path / "a.json").write_text(json.dumps([{"video": "v.mp4", "conversations": turns}]))
    assert run("data", "convert", "a.json", "b.json")[0] == 1
    assert run("data", "convert", "a.json", "b.json", "--lenient")[0] == 0
    assert json.loads((tmp_path / "b.json").read_text())[0]["conversations"][0]["value"] == (
        "<video>\nWhat?"
    )
