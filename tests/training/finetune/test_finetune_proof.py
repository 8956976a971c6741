"""The built-in model learns a motion that it does not know, and keeps what it knew."""

import os
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "finetune"


@pytest.fixture
def example(monkeypatch):
    """The example's modules, and the package for the command that they start."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    import proof
    import zigzag

    return proof, zigzag


def test_zigzags_are_exact_and_shown_beside_moving_objects(example):
    _, zigzag = example
    clips = [clip for clip in map(zigzag.zigzag_clip, range(60)) if clip]
    assert len(clips) > 15
    for clip in clips:
        (ours,) = (shape for shape in clip.shapes if shape.motion.kind == "zigzag")
        path = ours.motion.positions(zigzag.CHECK_TIMES)
        steps = path[1:] - path[:-1]
        axis = 0 if ours.motion.first in ("left", "right") else 1
        assert (steps[:, axis] > 0).all() or (steps[:, axis] < 0).all()  # one way only
        turns = (steps[1:, 1 - axis] * steps[:-1, 1 - axis] < 0).sum()
        assert turns in (3, 4)
        assert ((path >= 0) & (path <= 1)).all()
        assert len(clip.shapes) > 1 and all(shape.motion.is_moving for shape in clip.shapes)
    assert all(chance < 1 for clip in clips for _, _, chance in zigzag.questions(clip))


@pytest.mark.slow
def test_finetuning_teaches_zigzags_and_forgets_little(example, tmp_path):
    proof, _ = example
    report = proof.prove(tmp_path, limit=1200)
    before, after = (report[when]["zigzag"]["all"] for when in ("before", "after"))
    assert before["accuracy"] < before["chance"] + 0.15
    assert after["accuracy"] >= 0.85
    assert max(report["lost_points"].values()) <= 3
    assert report["finetune"]["seconds"] <= 600 or (os.cpu_count() or 1) < 2
