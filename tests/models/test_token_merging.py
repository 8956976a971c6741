"""Merging image tokens over time: how many remain, which, and what becomes of them."""

import pytest
import torch

from mobile_videogpt.models.token_merging import (
    merge_over_time,
    merge_visual_tokens,
    num_merged_tokens,
)

FRAMES, PLACES, WIDTH = 6, 4, 8


@pytest.fixture
def tokens():
    return torch.randn(FRAMES, PLACES, WIDTH, generator=torch.Generator().manual_seed(0))


def merge_by_hand(tokens, joined):
    """Runs followed token by token; `joined` holds the (frame, place) that join the one before."""
    frames, places = tokens.shape[:2]
    runs = {}
    for place in range(places):
        for frame in range(frames):
            if (frame, place) not in joined:
                start = frame
            runs.setdefault((start, place), []).append(tokens[frame, place])
    order = sorted(runs)
    return torch.stack([torch.stack(runs[key]).mean(0) for key in order]), [
        frame * places + place for frame, place in order
    ]


@pytest.mark.parametrize("keep", [1.0, 0.8, 0.5, 0.25])
def test_exactly_the_asked_share_remains(tokens, keep):
    merged, places = merge_over_time(tokens, keep)
    assert merged.shape == (num_merged_tokens(FRAMES, PLACES, keep), WIDTH)
    assert len(merged) == round(FRAMES * PLACES * keep)
    assert places.tolist() == sorted(set(places.tolist()))


def test_keeping_all_changes_nothing(tokens):
    merged, places = merge_over_time(tokens, 1.0)
    assert torch.equal(merged, tokens.flatten(0, 1))
    assert places.tolist() == list(range(FRAMES * PLACES))


def test_the_most_similar_neighbours_join_and_a_run_becomes_its_mean(tokens):
    similarity = torch.cosine_similarity(tokens[1:], tokens[:-1], dim=-1)
    best = similarity.flatten().argsort(descending=True)[: FRAMES * PLACES // 2].tolist()
    joined = {(index // PLACES + 1, index % PLACES) for index in best}
    expected, places = merge_by_hand(tokens, joined)
    merged, found = merge_over_time(tokens, 0.5)
    assert found.tolist() == places
    torch.testing.assert_close(merged, expected)


def test_what_stands_still_merges_and_what_moves_remains(tokens):
    still = tokens[:1].repeat(FRAMES, 1, 1)
    still[:, 2] = tokens[:, 2]  # one place changes all the time
    merged, places = merge_over_time(still, (PLACES + FRAMES - 1) / (FRAMES * PLACES))
    moving = [frame * PLACES + 2 for frame in range(FRAMES)]
    assert places.tolist() == sorted({*range(PLACES), *moving})
    torch.testing.assert_close(merged[:PLACES], tokens[0])
    torch.testing.assert_close(merged[PLACES:], tokens[1:, 2])


def test_as_many_tokens_as_a_frame_has_always_remain(tokens):
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
