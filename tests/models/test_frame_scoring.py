"""Frame scoring against the equation written naively, and what selection promises."""

import pytest
import torch

from mobile_videogpt.models import frame_selection
from mobile_videogpt.models.frame_selection import score_frames, select_frames, uniform_frames


def naive_scores(features):
    """Equation 3 for one video, with the whole attention matrix."""
    frames, tokens, dim = features.shape
    flat = features.reshape(-1, dim).double()
    attention = torch.softmax(flat @ flat.T / dim**0.5, dim=-1)
    return attention.sum(0).reshape(frames, tokens).sum(-1)


@pytest.mark.parametrize("at_once", [1, 7, 1 << 22])
def test_scores_are_the_attention_that_frames_receive(monkeypatch, at_once):
    monkeypatch.setattr(frame_selection, "SCORE_BLOCK_ELEMENTS", at_once)
    features = torch.randn(2, 3, 5, 4, 6)  # two leading axes
    scores = score_frames(features)
    assert scores.shape == (2, 3, 5)
    for i in range(2):
        for j in range(3):
            expected = naive_scores(features[i, j]).float()
            torch.testing.assert_close(scores[i, j], expected)


def test_scores_sum_to_the_number_of_tokens():
    scores = score_frames(torch.randn(3, 8, 10, 4))
    torch.testing.assert_close(scores.sum(-1), torch.full((3,), 80.0))


def test_half_precision_features_are_scored_in_float32():
    features = torch.randn(8, 10, 4).half()
    scores = score_frames(features)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, score_frames(features.float()))


def test_selection_is_in_time_order_and_by_score():
    scores = torch.tensor([[3.0, 1.0, 5.0, 2.0], [0.0, 9.0, 8.0, 7.0]])
    assert select_frames(scores, 2).tolist() == [[0, 2], [1, 2]]
    assert select_frames(scores, 2, largest=False).tolist() == [[1, 3], [0, 3]]


def test_of_equal_frames_the_earlier_are_kept():
    assert select_frames(torch.ones(6), 3).tolist() == [0, 1, 2]


def test_one_frame_alone():
    assert select_frames(score_frames(torch.randn(1, 9, 4)), 1).tolist() == [0]


@pytest.mark.parametrize("k", [0, 5])
def test_a_number_out_of_range_is_refused(k):
    with pytest.raises(ValueError, match=f"Cannot keep {k} of 4 frames"):
        select_frames(torch.ones(4), k)


def test_uniform_frames_are_evenly_spread():
    assert uniform_frames(16, 8) == list(range(0, 16, 2))
    assert uniform_frames(5, 5) == [0, 1, 2, 3, 4]


def test_training_in_half_precision_scores_in_full():
    features = torch.randn(1, 8, 9, 32, generator=torch.Generator().manual_seed(0)) * 4
    expected = score_frames(features)
    with torch.autocast("cpu", torch.bfloat16):
        scores = score_frames(features)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, expected)
