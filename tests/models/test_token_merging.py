"""Merging image tokens over time: how many remain, which, and what becomes of them."""

import pytest
import torch

from mobile_videogpt.models.token_merging import (
    merge_over_time,
    merge_visual_tokens,
    num_runs,
)

FRAMES, PLACES, WIDTH = 6, 4, 8


@pytest.fixture
def tokens():
    return torch.randn(FRAMES, PLACES, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("keep", "frames"), [(1.0, 6), (0.8, 5), (0.5, 3), (0.17, 1)])
def test_the_asked_share_remains_to_the_nearest_frame(tokens, keep, frames):
    merged, places = merge_over_time(tokens, keep)
    assert num_runs(FRAMES, keep) == frames
    assert merged.shape == (frames * PLACES, WIDTH)
    assert places.tolist() == sorted(set(places.tolist()))


def test_keeping_all_changes_nothing(tokens):
    merged, places = merge_over_time(tokens, 1.0)
    assert torch.equal(merged, tokens.flatten(0, 1))
    assert places.tolist() == list(range(FRAMES * PLACES))


def test_neighbouring_frames_become_their_mean_at_the_first_ones_places(tokens):
    merged, places = merge_over_time(tokens, 0.5)
    expected = torch.stack([tokens[start : start + 2].mean(0) for start in (0, 2, 4)])
    torch.testing.assert_close(merged, expected.flatten(0, 1))
    assert places.tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19]


def test_uneven_runs_cover_every_frame_once(tokens):
    merged, places = merge_over_time(tokens, 4 / 6)  # runs from frames 0, 1, 3 and 4
    runs = [(0, 1), (1, 3), (3, 4), (4, 6)]
    expected = torch.stack([tokens[start:end].mean(0) for start, end in runs])
    torch.testing.assert_close(merged, expected.flatten(0, 1))
    assert places[::PLACES].tolist() == [0, 4, 12, 16]


def test_a_still_scene_loses_nothing(tokens):
    merged, _ = merge_over_time(tokens[:1].repeat(FRAMES, 1, 1), 0.5)
    torch.testing.assert_close(merged, tokens[0].repeat(3, 1))


def test_one_frame_always_remains(tokens):
    merged, places = merge_over_time(tokens, 0.01)
    assert places.tolist() == list(range(PLACES))
    torch.testing.assert_close(merged, tokens.mean(0))


def test_half_precision_runs_are_summed_in_float32():
    tokens = torch.full((512, 1, WIDTH), 1.001).half()
    merged, _ = merge_over_time(tokens, 1e-9)
    assert merged.dtype == torch.float16
    assert torch.equal(merged[0], tokens[0, 0])


def test_tokens_after_the_images_are_left_alone(tokens):
    others = torch.randn(5, WIDTH)
    visual = torch.cat((tokens.flatten(0, 1), others))[None]
    merged, places = merge_visual_tokens(visual, FRAMES, FRAMES * PLACES, 0.5)
    assert torch.equal(merged[0, -5:], others)
    assert places.tolist()[-5:] == list(range(FRAMES * PLACES, FRAMES * PLACES + 5))
    assert merged.shape == (1, FRAMES * PLACES // 2 + 5, WIDTH)


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_out_of_range_is_named(tokens, keep):
    with pytest.raises(ValueError, match="above 0, at most 1"):
        merge_over_time(tokens, keep)
