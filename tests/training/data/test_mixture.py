"""Mixtures: how many of what, in which order, and what their YAML may say."""

import json
import math
import pickle
from collections import Counter
from pathlib import Path

import pytest
import yaml

from mobile_videogpt.training.data import DataError, Turn, load_mixture
from mobile_videogpt.training.data.mixture import mixture_of, read_config


def annotations(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [
        {
            "id": f"{path.stem}{i}",
            "video": f"{i}.mp4",
            "conversations": [
                {"from": "human", "value": "<video>\n" + "Why? " * (i + 1)},
                {"from": "gpt", "value": "Because {braces}."},
            ],
        }
        for i in range(number)
    ]
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def mixture(tmp_path: Path, sources: list, **fields):
    path = tmp_path / "mixture.yaml"
    path.write_text(yaml.safe_dump({"sources": sources, **fields}), encoding="utf-8")
    return load_mixture(path)


def ids(mixture, start, stop):
    return [mixture.record(position).id for position in range(start, stop)]


def test_every_epoch_holds_every_record_once_in_another_order(tmp_path):
    annotations(tmp_path / "a.json", 10)
    annotations(tmp_path / "b.json", 5)
    mixed = mixture(tmp_path, ["a.json", "b.json"])
    assert mixed.samples_per_epoch == 15
    epochs = [ids(mixed, start, start + 15) for start in (0, 15, 30)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert all(len(set(epoch)) == 15 for epoch in epochs)


def test_the_order_depends_on_the_seed_alone_and_any_position_can_be_asked_for(tmp_path):
    annotations(tmp_path / "a.json", 12)
    first = mixture(tmp_path, ["a.json"], seed=3)
    whole = ids(first, 0, 40)
    again = mixture(tmp_path, ["a.json"], seed=3)
    # As a resumed process of four does: its own positions, from the middle on.
    assert [again.record(p).id for p in range(17, 40, 4)] == whole[17::4]
    assert ids(again, 0, 40) == whole
    assert ids(mixture(tmp_path, ["a.json"], seed=4), 0, 40) != whole
    copy = pickle.loads(pickle.dumps(first))
    assert ids(copy, 0, 40) == whole


def test_repeats_counts_and_weights(tmp_path):
    for name, number in (("a", 10), ("b", 4), ("c", 6), ("d", 3)):
        annotations(tmp_path / f"{name}.json", number)
    sources = [
        {"annotations": "a.json", "repeat": 0.5},
        {"annotations": "b.json", "count": 6},
        {"annotations": "c.json", "weight": 2},
        {"annotations": "d.json", "weight": 1},
    ]
    mixed = mixture(tmp_path, sources, samples_per_epoch=21)
    found = Counter(identifier[0] for identifier in ids(mixed, 0, 21))
    # 21 samples less 5 and 6 leave 10 for weights of two to one.
    assert found == {"a": 5, "b": 6, "c": 7, "d": 3}
    described = mixed.describe()["sources"]
    assert [source["per_epoch"] for source in described] == [5, 6, 7, 3]
    assert described[0]["epochs_to_see_all"] == 2


def test_a_fraction_of_a_source_gives_all_of_its_records_in_turn(tmp_path):
    annotations(tmp_path / "a.json", 10)
    mixed = mixture(tmp_path, [{"annotations": "a.json", "count": 4}])
    counts = Counter(ids(mixed, 0, 20))
    assert len(counts) == 10 and set(counts.values()) == {2}


def test_a_repeated_source_shows_every_record_equally_often(tmp_path):
    annotations(tmp_path / "a.json", 5)
    mixed = mixture(tmp_path, [{"annotations": "a.json", "repeat": 3}])
    assert set(Counter(ids(mixed, 0, 15)).values()) == {3}


def test_an_order_without_shuffling_is_that_of_the_files(tmp_path):
    annotations(tmp_path / "a.json", 3)
    annotations(tmp_path / "b.json", 2)
    mixed = mixture(tmp_path, ["a.json", "b.json"], shuffle=False)
    assert ids(mixed, 0, 6) == ["a0", "a1", "a2", "b0", "b1", "a0"]


def test_lengths_are_those_of_the_places_of_the_epoch(tmp_path):
    annotations(tmp_path / "a.json", 9)
    mixed = mixture(tmp_path, ["a.json"])
    for epoch in (0, 1):
        texts = [
            sum(math.ceil(len(turn.text) / 4) for turn in mixed.record(position).turns)
            for position in range(epoch * 9, epoch * 9 + 9)
        ]
        assert mixed.lengths(epoch) == texts
        assert mixed.lengths(epoch, tokens_per_video=100) == [text + 100 for text in texts]


def test_prompt_and_system_of_a_source(tmp_path):
    annotations(tmp_path / "a.json", 1)
    prompt = {"prefix": "Watch. ", "suffix": " Be brief.", "template": "Q: {question}"}
    source = {"annotations": "a.json", "prompt": prompt, "system": "You see."}
    record = mixture(tmp_path, [source]).record(0)
    assert record.turns[0] == Turn("system", "You see.")
    assert record.turns[1].text == "Watch. Q: Why? Be brief." and len(record.media) == 1
    assert record.turns[2].text == "Because {braces}."


def test_root_and_media_root(tmp_path):
    annotations(tmp_path / "disk" / "x" / "a.json", 1)
    source = {"annotations": "x/a.json", "media_root": "clips"}
    record = mixture(tmp_path, [source], root="disk").record(0)
    assert record.media[0].path == tmp_path / "disk" / "clips" / "0.mp4"
    path = tmp_path / "mixture.yaml"
    path.write_text(yaml.safe_dump({"root": "/nowhere", "sources": [source]}))
    moved = load_mixture(path, root=tmp_path / "disk").record(0)
    assert moved.media[0].path == tmp_path / "disk" / "clips" / "0.mp4"


def test_paths_may_hold_variables_and_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCH", str(tmp_path / "disk"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    annotations(tmp_path / "disk" / "a.json", 1)
    source = {"annotations": "a.json", "media_root": "~/clips"}
    record = mixture(tmp_path, [source], root="$SCRATCH").record(0)
    assert record.media[0].path == tmp_path / "clips" / "0.mp4"


def test_an_annotation_file_is_a_mixture_of_one(tmp_path):
    path = annotations(tmp_path / "a.json", 4)
    mixed = load_mixture(path)
    assert mixed.name == "a" and sorted(ids(mixed, 0, 4)) == ["a0", "a1", "a2", "a3"]


def test_records_at_hand_can_be_mixed_too(tmp_path):
    whole = load_mixture(annotations(tmp_path / "a.json", 4))
    part = mixture_of(record for record in whole.sources[0].records if record.id != "a0")
    assert sorted(ids(part, 0, 3)) == ["a1", "a2", "a3"]


SOURCE = {"annotations": "a.json"}
REFUSED = {
    "needs a list `sources`": {"sources": []},
    "has the unknown field 'soruces'": {"soruces": []},
    "source 1 needs `annotations`": {"sources": [{"name": "x"}]},
    "source a has the unknown field 'wieght'": {"sources": [{**SOURCE, "wieght": 1}]},
    "has both repeat and weight": {"sources": [{**SOURCE, "repeat": 1, "weight": 1}]},
    "weight is -1": {"sources": [{**SOURCE, "weight": -1}]},
    "weight is nan": {"sources": [{**SOURCE, "weight": float("nan")}]},
    "count is 1.5": {"sources": [{**SOURCE, "count": 1.5}]},
    "count is True": {"sources": [{**SOURCE, "count": True}]},
    "all weights are 0": {"sources": [{**SOURCE, "weight": 0}]},
    "layout 'coco' is unknown": {"sources": [{**SOURCE, "layout": "coco"}]},
    "lacks {question}": {"sources": [{**SOURCE, "prompt": "What?"}]},
    "two sources named 'a'": {"sources": [SOURCE, SOURCE]},
    "seed is '3'": {"sources": [SOURCE], "seed": "3"},
    "shuffle is 'no way'": {"sources": [SOURCE], "shuffle": "no way"},
    "samples_per_epoch needs sources with a weight": {"sources": [SOURCE], "samples_per_epoch": 3},
    "mixture.yaml must hold a mapping": [SOURCE],
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_field_that_cannot_be_meant_is_refused(tmp_path, message):
    annotations(tmp_path / "a.json", 2)
    path = tmp_path / "mixture.yaml"
    path.write_text(yaml.safe_dump(REFUSED[message]))
    with pytest.raises(DataError) as caught:
        load_mixture(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_missing_broken_or_empty(tmp_path):
    path = tmp_path / "mixture.yaml"
    with pytest.raises(DataError, match="No mixture at"):
        load_mixture(path)
    path.write_text("sources: [unclosed")
    with pytest.raises(DataError, match="cannot be read as YAML"):
        load_mixture(path)
    path.write_text(yaml.safe_dump({"sources": [SOURCE]}))
    assert read_config(path).sources[0].name == "a"  # reads no annotations
    with pytest.raises(DataError, match=r"No annotation file at .*a\.json"):
        load_mixture(path)
    annotations(tmp_path / "a.json", 0)
    with pytest.raises(DataError, match="has no samples"):
        load_mixture(path)


def test_counts_that_leave_nothing_for_weights(tmp_path):
    annotations(tmp_path / "a.json", 4)
    annotations(tmp_path / "b.json", 4)
    sources = [{"annotations": "a.json", "count": 6}, {"annotations": "b.json", "weight": 1}]
    with pytest.raises(DataError, match="take 2 samples more"):
        mixture(tmp_path, sources, samples_per_epoch=4)


def test_a_broken_entry_points_to_the_check(tmp_path):
    path = annotations(tmp_path / "a.json", 2)
    path.write_text(path.read_text().replace("<video>", "", 1))
    with pytest.raises(DataError, match=r"entry 1.*mobile-videogpt data check"):
        load_mixture(path)
