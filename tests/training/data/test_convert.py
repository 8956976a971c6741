"""Every layout can be written and read back."""

import json
from pathlib import Path

import pytest

from mobile_videogpt.training.data import DataError, Media, Record, Turn, read_annotations
from mobile_videogpt.training.data.convert import write_annotations


def record(*turns, **details):
    return Record("id 1", turns, "test", details)


def single(root: Path) -> Record:
    video = Media("video", root / "a é.mp4", 0.5, 2.0)
    return record(
        Turn("system", "Be brief."),
        Turn("user", 'What, "now"?\nSecond line', (video,)),
        Turn("assistant", "<b>A</b>; shape\u2028."),
        family="x",
    )


def dialogue(root: Path) -> Record:
    media = (Media("image", root / "i.png"), Media("video", root / "sub" / "v.mp4"))
    return record(
        Turn("user", "Hello"),
        Turn("assistant", "Hi"),
        Turn("user", "Compare", media),
        Turn("assistant", "No"),
        options=["a", "b"],
    )


JSON = [(name, layout) for name in ("a.json", "a.jsonl") for layout in (None, "messages")]


@pytest.mark.parametrize("name, layout", [*JSON, ("a.csv", None), ("a.tsv", None)])
def test_what_was_written_is_read_back(tmp_path, name, layout):
    records = [single(tmp_path)] if "sv" in name else [single(tmp_path), dialogue(tmp_path)]
    assert write_annotations(records, tmp_path / name, layout) == len(records)
    found = read_annotations(tmp_path / name)
    assert [(r.id, r.turns) for r in found] == [(r.id, r.turns) for r in records]
    assert found[0].details == {"family": "x"}
    assert not list(tmp_path.glob("*.partial"))


def test_paths_are_written_as_seen_from_the_file(tmp_path):
    path = tmp_path / "out" / "deeper" / "a.json"
    write_annotations([single(tmp_path)], path)
    assert json.loads(path.read_text())[0]["video"] == "../../a é.mp4"
    write_annotations([single(tmp_path)], path, media_root=tmp_path)
    assert json.loads(path.read_text())[0]["video"] == "a é.mp4"


def test_a_linked_folder_does_not_lead_astray(tmp_path):
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "disk" / "deep" / "v.mp4").touch()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "deep")
    item = record(
        Turn("user", "?", (Media("video", tmp_path / "disk" / "deep" / "v.mp4"),)),
        Turn("assistant", "!"),
    )
    write_annotations([item], tmp_path / "link" / "out" / "a.json")
    (found,) = read_annotations(tmp_path / "link" / "out" / "a.json")
    assert found.media[0].path.exists()


def test_what_a_layout_cannot_hold_is_told(tmp_path):
    with pytest.raises(DataError, match="at most one file, this has 4 turns and 2 files"):
        write_annotations([dialogue(tmp_path)], tmp_path / "a.csv")
    media = (Media("video", tmp_path / "a.mp4", 1, 2), Media("video", tmp_path / "b.mp4"))
    two = record(Turn("user", "?", media), Turn("assistant", "!"))
    with pytest.raises(DataError, match="different start and end"):
        write_annotations([two], tmp_path / "a.json")
    write_annotations([two], tmp_path / "a.json", "messages")
    assert read_annotations(tmp_path / "a.json")[0].media == media
    with pytest.raises(DataError, match="does not fit the layout"):
        write_annotations([two], tmp_path / "a.json", "csv")


def test_nothing_and_half_characters_can_be_written(tmp_path):
    write_annotations([], tmp_path / "a.json")
    assert read_annotations(tmp_path / "a.json") == []
    odd = record(Turn("user", "\ud83d?"), Turn("assistant", "!"))
    for name in ("b.json", "b.csv"):
        write_annotations([odd], tmp_path / name)
        assert len(read_annotations(tmp_path / name)) == 1
