"""The file that `describe` appends to and takes up again."""

import json

import pytest

from mobile_videogpt.cli.jsonl import JsonLines

IDENTITY = {"model": "m", "question": "q"}


def write(path, *records, tail=""):
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records) + tail)
    return path


def test_described_videos_are_done_failed_ones_and_other_questions_are_not(tmp_path):
    path = write(
        tmp_path / "out.jsonl",
        {"video": "a", **IDENTITY, "description": "x"},
        {"video": "b", **IDENTITY, "error": "broken"},
        {"video": "c", "model": "m", "question": "other", "description": "x"},
        {"video": "d", **IDENTITY, "error": "broken"},
        {"video": "d", **IDENTITY, "description": "worked later"},
    )
    assert JsonLines(path).done(IDENTITY) == {"a", "d"}


def test_a_line_that_a_killed_run_left_half_written_is_cut_off(tmp_path):
    path = write(
        tmp_path / "out.jsonl",
        {"video": "a", **IDENTITY, "description": "x"},
        tail='{"video": "b", "descr',
    )
    lines = JsonLines(path)
    lines.append('{"video": "b"}')
    assert [json.loads(line)["video"] for line in path.read_text().splitlines()] == ["a", "b"]


@pytest.mark.parametrize("content", ["shopping list\n", "shopping list", "[1, 2]\n", "{\n}\n"])
def test_a_file_that_is_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"notes\.txt"):
        JsonLines(path)
    assert path.read_text() == content


def test_a_new_file_is_only_made_when_something_is_written(tmp_path):
    lines = JsonLines(tmp_path / "out.jsonl")
    assert lines.done(IDENTITY) == set() and not lines.path.exists()
