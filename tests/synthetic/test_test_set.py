"""The fixed test set: the same questions and pixels everywhere, and proof of it."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mobile_videogpt.synthetic import test_set
from mobile_videogpt.synthetic.questions import FAMILIES, LETTERS
from mobile_videogpt.synthetic.world import make_clip
from mobile_videogpt.video.source import read_video

SOURCE = Path(__file__).parents[2] / "src"
# Of the first forty questions and their clips: what every machine must draw.
FIRST_QUESTIONS, FIRST_SHA256 = (
    40,
    "fd41a42ec510785afb0d84d9e76a2c627ce531e2bde6f0acd2a14ea2b8419b68",
)


def test_every_family_has_as_many_questions():
    questions = test_set.draw_questions()
    counts = Counter(q.question.family for q in questions)
    assert counts == dict.fromkeys(FAMILIES, test_set.PER_FAMILY)
    assert len({q.id for q in questions}) == len(questions)
    assert all(q.clip.split == "test" for q in questions)


def test_the_right_option_stands_where_the_letter_says():
    for fixed in test_set.draw_questions():
        row = fixed.row()
        assert row["options"][LETTERS.index(row["answer"])] == fixed.question.answer
        assert len(set(row["options"])) == len(row["options"]) >= 2


def test_the_first_clips_have_the_recorded_pixels():
    first = test_set.draw_questions()[:FIRST_QUESTIONS]
    assert test_set.checksum(first) == FIRST_SHA256


@pytest.mark.slow
def test_the_whole_set_has_the_recorded_checksum():
    test_set.check()


def test_a_processor_without_wide_vectors_draws_the_same():
    code = (
        "from mobile_videogpt.synthetic import test_set as t\n"
        f"print(t.checksum(t.draw_questions()[:{FIRST_QUESTIONS}]))"
    )
    path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    features = np._core._multiarray_umath.__cpu_dispatch__
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": path, "NPY_DISABLE_CPU_FEATURES": " ".join(features)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == FIRST_SHA256


def test_the_checksum_sees_one_pixel_and_one_word(monkeypatch):
    first = test_set.draw_questions()[:3]
    before = test_set.checksum(first)
    assert test_set.checksum(first[:2]) != before
    frames = type(first[0].clip).frames

    def one_pixel_off(clip, *args):
        painted = frames(clip, *args)
        painted[-1, -1, -1, -1] ^= 1
        return painted

    monkeypatch.setattr(type(first[0].clip), "frames", one_pixel_off)
    assert test_set.checksum(first) != before


def test_another_generator_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(test_set, "checksum", lambda questions: "0" * 64)
    with pytest.raises(ValueError, match="0000, version 1 has 732f"):
        test_set.write_test_set(tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_written_files_hold_the_very_pixels(tmp_path):
    out = test_set.write_test_set(tmp_path / "set", limit=9)
    rows = test_set.read_rows(out)
    assert rows == [fixed.row() for fixed in test_set.draw_questions()[:9]]
    about = json.loads((out / "about.json").read_text())
    assert about["questions"] == 9 and about["sha256"] is None
    for path, clip in test_set.clips(test_set.draw_questions()[:9]):
        seen = read_video(out / path)
        painted = make_clip(clip.seed, "test").frames()
        assert all(
            np.array_equal(frame, painted[i])
            for frame, i in zip(seen.frames, seen.frame_indices, strict=True)
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_a_written_set_is_left_alone_and_a_foreign_folder_too(tmp_path):
    calls = []
    out = tmp_path / "set"
    test_set.write_test_set(out, lambda done, total: calls.append((done, total)), limit=2)
    assert calls == [(1, 1)]
    test_set.write_test_set(out, lambda done, total: calls.append((done, total)), limit=2)
    assert len(calls) == 1
    with pytest.raises(ValueError, match="another version"):
        test_set.write_test_set(out, limit=3)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match="something else"):
        test_set.write_test_set(tmp_path / "other", limit=2)


def test_a_killed_writing_leaves_no_half_set(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        test_set.write_test_set(tmp_path / "set", stop, limit=2)
    assert list(tmp_path.iterdir()) == []


def test_whoever_comes_second_takes_what_is_there(tmp_path):
    out = tmp_path / "set"

    other = test_set.write_test_set(tmp_path / "elsewhere", limit=2)
    test_set.write_test_set(out, lambda done, total: os.replace(other, out), limit=2)
    assert len(test_set.read_rows(out)) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
