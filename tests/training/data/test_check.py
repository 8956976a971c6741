"""The check of a data set: everything that can be wrong with it, found and left out."""

import json
import os
from collections import Counter

import probes
import pytest
import yaml

from mobile_videogpt.training.data import DataError
from mobile_videogpt.training.data.check import CheckOptions, check_data, summary
from mobile_videogpt.training.data.text_checks import TokenBudget

ALL = CheckOptions(sample=None, workers=1)


@pytest.fixture
def data(tmp_path, clips):
    """Writes clips and annotations.json; returns its path."""

    def make(entries, **files):
        for number, content in enumerate(clips):
            (tmp_path / f"{number}.mp4").write_bytes(content)
        for name, content in files.items():
            (tmp_path / name.replace("__", ".")).write_bytes(content)
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(entries), encoding="utf-8")
        return path

    return make


def kinds(result):
    return Counter(finding.kind for finding in result.problems)


def test_a_sound_set_has_no_problems(data, entry):
    result = check_data(data([entry("0.mp4"), entry("1.mp4"), entry("2.mp4")]), ALL)
    assert not result.problems and not result.warnings and result.usable == 3
    figures = summary(result)
    assert figures["decoded"] == figures["files"] == 3 and figures["failed"] == 0
    assert all(result.results[path].thumbnail for _, path in result.files)


def test_every_problem_is_found_once_and_left_out(data, entry, clips):
    entries = [
        entry("0.mp4", id="good"),
        entry("0.mp4", start=1, end=2.5, id="good stretch"),
        entry("nowhere.mp4"),
        entry("empty.mp4"),
        entry("text.mp4"),
        entry("0.mp4", "What?", id="no tag"),
        entry("0.mp4", answer=" ", id="no answer"),
        entry("0.mp4", answer="<|im_end|> <|video_pad|>", id="control"),
        entry("0.mp4", answer="word " * 9000, id="long"),
        entry("0.mp4", start=1, end=1.5, id="short stretch"),
        entry("0.mp4", start=90, id="late"),
        entry("0.mp4", id="again"),
        entry("copy.mp4", id="again under another name"),
        entry("copy.mp4", "<video>\nWho?", id="a copy asked something else"),
        {"id": "neither", "video": "0.mp4"},
    ]
    path = data(entries, copy__mp4=clips[0], empty__mp4=b"", text__mp4=b"no video at all" * 100)
    result = check_data(path, ALL)
    assert kinds(result) == {
        "missing": 2,
        "undecodable": 1,
        "placeholders": 1,
        "empty_answer": 1,
        "special_tokens": 1,
        "too_long": 1,
        "too_short": 1,
        "outside": 1,
        "repeated": 2,
        "fields": 1,
    }
    kept = [record.id for record in result.clean_records("annotations")]
    assert kept == ["good", "good stretch", "a copy asked something else"]
    assert result.entries == 15 and result.usable == 3
    # Which of two equal files is the copy is a matter of names.
    (warning,) = result.warnings
    assert warning.kind == "duplicate_media" and warning.message.endswith("0.mp4.")


def test_a_decoder_that_crashes_or_hangs_does_not_take_the_check_down(data, entry, clips):
    names = ["killed.mp4", "hangs.mp4", "0.mp4", "1.mp4"]
    path = data(
        [entry(name) for name in names],
        killed__mp4=clips[2] + b"k",
        hangs__mp4=clips[2] + b"hh",
    )
    options = CheckOptions(sample=None, workers=1, time_limit_s=3)
    result = check_data(path, options, probe=probes.misbehaving)
    assert kinds(result) == {"crash": 1, "hang": 1} and result.usable == 2
    assert "SIGKILL" in result.problems[0].message


def test_only_a_sample_is_decoded_and_the_seed_says_which(data, entry):
    path = data([entry(f"{number}.mp4") for number in range(3)])
    chosen = [
        sorted(check_data(path, CheckOptions(sample=2, seed=seed, workers=1)).results)
        for seed in (0, 0, 2, 3)
    ]
    assert chosen[0] == chosen[1] and all(len(paths) == 2 for paths in chosen)
    assert len({tuple(paths) for paths in chosen}) > 1


def test_what_was_decoded_is_remembered_until_the_file_changes(data, entry, tmp_path):
    path, memory = data([entry("0.mp4"), entry("1.mp4")]), tmp_path / "memory.jsonl"
    first = check_data(path, ALL, memory=memory)
    memory.write_text(memory.read_text() + '{"half a li', encoding="utf-8")
    seen = []
    again = check_data(
        path,
        ALL,
        memory=memory,
        probe=probes.must_not_be_called,
        on_progress=lambda *ratio: seen.append(ratio),
    )
    assert again.results == first.results and seen == [(2, 2)]
    os.utime(tmp_path / "1.mp4", (1, 1))
    changed = check_data(path, ALL, memory=memory, probe=probes.must_not_be_called)
    assert kinds(changed) == {"undecodable": 1}


def test_several_sources_with_one_that_cannot_be_read(data, entry, tmp_path):
    data([entry("0.mp4")])
    (tmp_path / "broken.jsonl").write_text(f"{{oops\n{json.dumps(entry('1.mp4'))}\n")
    config = tmp_path / "mixture.yaml"
    sources = ["annotations.json", "broken.jsonl", "none.json"]
    config.write_text(yaml.safe_dump({"sources": sources}))
    result = check_data(config, ALL)
    assert kinds(result) == {"json": 1, "annotations": 1}
    assert [finding.source for finding in result.problems] == ["none", "broken"]
    assert "line 1" in result.problems[1].origin and result.usable == 2
    config.write_text(yaml.safe_dump({"sources": ["none.json"]}))
    with pytest.raises(DataError, match=r"none\.json"):
        check_data(config, ALL)


def test_the_same_words_about_the_same_clip_in_two_sources(data, entry, tmp_path):
    path = data([entry("0.mp4")])
    (tmp_path / "validation.json").write_text(path.read_text())
    config = tmp_path / "mixture.yaml"
    config.write_text(yaml.safe_dump({"sources": ["annotations.json", "validation.json"]}))
    result = check_data(config, ALL)
    assert kinds(result) == {"repeated": 1} and result.problems[0].source == "validation"


def test_the_prompt_of_a_source_counts_as_words(data, entry, tmp_path):
    data([entry("0.mp4")])
    config = tmp_path / "mixture.yaml"
    source = {"annotations": "annotations.json", "prompt": {"suffix": " x" * 200}}
    config.write_text(yaml.safe_dump({"sources": [source]}))
    short = CheckOptions(workers=1, budget=TokenBudget(limit=100, per_video=10))
    assert kinds(check_data(config, short)) == {"too_long": 1}
    long = CheckOptions(workers=1, budget=TokenBudget(limit=150, per_video=10))
    assert not check_data(config, long).problems


def test_unicode_names_and_absolute_paths(data, entry, tmp_path, clips):
    path = tmp_path / "fête 動画 [1].mp4"
    path.write_bytes(clips[0])
    result = check_data(data([entry(str(path)), entry(path.name)]), ALL)
    assert kinds(result) == {"repeated": 1}
    assert len(result.files) == 1  # the same file, however it is named


def test_images_and_text_only_entries(data, entry, tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.png")
    picture = {**entry("a.png", "<image>\nWhat?"), "image": "a.png", "video": None}
    text = {**entry("", "Say hello."), "video": None}
    result = check_data(data([picture, text]), ALL)
    assert not result.problems and result.usable == 2
    assert [finding.kind for finding in result.warnings] == ["odd_media"]
