"""The world is deterministic, keeps its splits apart, and paints what its script says."""

import numpy as np
import pytest

from mobile_videogpt.synthetic.labels import clip_attributes, patch_owners
from mobile_videogpt.synthetic.motions import Motion
from mobile_videogpt.synthetic.render import RGB
from mobile_videogpt.synthetic.world import HELD_OUT, Clip, Shape, make_clip

TIMES = np.arange(16) / 16


def test_same_seed_gives_the_same_pixels():
    np.testing.assert_array_equal(make_clip(5).frames(4, 64), make_clip(5).frames(4, 64))


def test_splits_share_no_clip():
    train = {make_clip(i, "train").shapes for i in range(200)}
    assert train.isdisjoint(make_clip(i, "test").shapes for i in range(200))


def test_held_out_pairs_appear_only_in_the_test_split():
    def pairs(split: str) -> set[tuple[str, str]]:
        shown = set()
        for i in range(400):
            for shape in make_clip(i, split).shapes:
                shown |= {(shape.color, shape.shape)}
                if shape.event.color:
                    shown |= {(shape.event.color, shape.shape)}
        return shown

    assert not pairs("train") & HELD_OUT
    assert pairs("test") >= HELD_OUT


def test_unknown_split_is_an_error_that_names_the_choices():
    with pytest.raises(ValueError, match=r"'dev'.*train, validation, test"):
        make_clip(0, "dev")


@pytest.mark.parametrize("seed", range(60))
def test_objects_overlap_only_where_they_touch(seed):
    clip = make_clip(seed)
    for i, a in enumerate(clip.shapes):
        for j, b in enumerate(clip.shapes[:i]):
            between = a.motion.positions(TIMES) - b.motion.positions(TIMES)
            gap = np.linalg.norm(between, axis=1) - a.radii(TIMES) - b.radii(TIMES)
            is_pair = a.touches == j or b.touches == i
            assert (gap.min() < 0) == is_pair


@pytest.mark.parametrize("seed", range(40))
def test_the_pixels_at_an_objects_centre_have_its_color(seed):
    clip = make_clip(seed, "test")
    size = 96
    frames = clip.frames(16, size)
    for shape in clip.shapes:
        if shape.touches is not None or shape.shape == "cross":
            continue
        centres = shape.motion.positions(TIMES) * size
        for t in np.flatnonzero(shape.visible(TIMES)):
            x, y = (int(v) for v in centres[t])
            if 0 <= x < size and 0 <= y < size:
                shown = RGB[shape.colors(TIMES)[t]]
                assert np.abs(frames[t, y, x].astype(int) - shown).max() <= 2


def test_a_pushed_object_would_rest_without_the_one_that_pushes_it():
    clip = next(c for c in map(make_clip, range(200)) if "pushed" in _kinds(c))
    hitter = next(i for i, s in enumerate(clip.shapes) if s.touches is not None)
    assert "pushed" not in {s.motion.kind for s in clip.without(hitter)}


def test_patch_owners_follow_the_object():
    motion = Motion("straight", ((0.0, 0.2, 0.5), (1.0, 0.8, 0.5)), "right", "right")
    clip = make_clip(0)
    clip = Clip(0, "train", (Shape("red", "circle", "large", motion),), clip.background)
    owners = patch_owners(clip, np.array([0.0, 0.99]), 4)
    assert owners[0, :, 0].max() == 0 and owners[0, :, 3].max() == -1
    assert owners[1, :, 0].max() == -1 and owners[1, :, 3].max() == 0
    assert clip_attributes(clip).shape == (1, 9)


def _kinds(clip: Clip) -> set[str]:
    return {shape.motion.kind for shape in clip.shapes}
