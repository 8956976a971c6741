"""Intervals cover what they promise, pairs are told apart, and constant scores keep a width."""

import doctest
import math

import numpy as np
import pytest

from mobile_videogpt.evaluation import statistics
from mobile_videogpt.evaluation.statistics import Tally, difference, holm, interval, wilson


def coin(rng: np.random.Generator, share: float, n: int) -> list[float]:
    return (rng.random(n) < share).astype(float).tolist()


def test_doctests_of_the_module():
    assert doctest.testmod(statistics).failed == 0


def test_the_mean_is_taken_over_questions_or_over_kinds():
    scores = [1, 1, 1, 0, 0]
    videos = list("abcde")
    assert Tally(scores, videos).mean() == pytest.approx(0.6)
    assert Tally(scores, videos, ["x", "x", "x", "x", "y"]).mean() == pytest.approx(0.375)


def test_an_interval_agrees_with_the_normal_approximation():
    rng = np.random.default_rng(3)
    scores = coin(rng, 0.4, 900)
    found = interval(Tally(scores, range(900)))
    share = np.mean(scores)
    half = 1.96 * math.sqrt(share * (1 - share) / 900)
    assert found.low == pytest.approx(share - half, abs=0.006)
    assert found.high == pytest.approx(share + half, abs=0.006)


@pytest.mark.parametrize("per_video", [1, 5])
def test_intervals_cover_the_truth_as_often_as_they_say(per_video):
    """Also where the questions about one video stand and fall together."""
    rng = np.random.default_rng(11)
    covered = 0
    for trial in range(200):
        right = np.repeat(rng.random(60) < 0.3, per_video)
        videos = np.repeat(np.arange(60), per_video).tolist()
        found = interval(Tally(right.tolist(), videos), resamples=400, seed=trial)
        covered += found.low <= 0.3 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


def test_questions_about_one_video_widen_the_interval():
    rng = np.random.default_rng(5)
    right = np.repeat(rng.random(50) < 0.5, 8).tolist()
    by_video = interval(Tally(right, np.repeat(np.arange(50), 8).tolist()))
    by_question = interval(Tally(right, range(400)))
    wider = (by_video.high - by_video.low) / (by_question.high - by_question.low)
    assert wider == pytest.approx(math.sqrt(8), rel=0.2)


def test_kinds_of_different_sizes_count_alike_in_every_draw():
    rng = np.random.default_rng(6)
    scores = coin(rng, 0.9, 400) + coin(rng, 0.2, 25)
    kinds = ["many"] * 400 + ["few"] * 25
    found = interval(Tally(scores, range(425), kinds))
    assert found.low < Tally(scores, range(425), kinds).mean() < found.high
    # The small kind has half the weight, so it decides the width: 0.2 * 0.8 / 25 / 4.
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.0016), rel=0.3)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_scores_without_spread_get_an_interval_with_a_width(share):
    found = interval(Tally([share] * 12, range(12)))
    assert found.method == "wilson" and found.high - found.low == pytest.approx(0.2425, abs=1e-4)
    assert found.low == pytest.approx(0, abs=1e-9) or found.high == pytest.approx(1)


def test_wilson_counts_videos_not_questions():
    assert interval(Tally([1.0] * 40, [0, 1, 2, 3] * 10)) == wilson(1.0, 4)


def test_one_video_says_next_to_nothing():
    found = interval(Tally([1.0, 0.0, 1.0], ["a"] * 3))
    assert found.method == "wilson" and found.high - found.low > 0.5


def test_intervals_are_the_same_in_every_run():
    tally = Tally(coin(np.random.default_rng(0), 0.5, 80), range(80))
    assert interval(tally) == interval(tally)
    assert interval(tally, seed=1) != interval(tally)


def test_pairs_find_a_difference_that_single_intervals_hide():
    rng = np.random.default_rng(9)
    first = np.array(coin(rng, 0.5, 600))
    second = first.copy()
    second[np.flatnonzero(first == 1)[:15]] = 0  # fifteen lost, none won
    videos = list(range(600))
    tallies = [Tally(x.tolist(), videos, among=videos) for x in (first, second)]
    assert interval(tallies[0]).low < interval(tallies[1]).high
    found = difference(*tallies)
    assert found.value == pytest.approx(15 / 600) and found.p_value < 0.001
    assert 0 < found.interval.low < found.value < found.interval.high


def test_equal_runs_do_not_differ():
    tally = Tally(coin(np.random.default_rng(2), 0.5, 50), range(50))
    found = difference(tally, tally)
    assert found.value == 0 and found.p_value == 1
    # Fifty videos without a difference do not prove that there is none.
    assert found.interval.low == -found.interval.high == -wilson(0.0, 50).high
    assert found.interval.method == "wilson"


def test_equally_good_runs_are_called_different_at_the_promised_rate():
    rng = np.random.default_rng(21)
    called = 0
    for trial in range(200):
        runs = [Tally(coin(rng, 0.6, 120), range(120)) for _ in range(2)]
        called += difference(*runs, resamples=400, seed=trial).p_value < 0.05
    assert 0.01 <= called / 200 <= 0.1


def test_the_sign_of_a_difference_is_first_minus_second():
    videos = list(range(40))
    better, worse = Tally([1.0] * 40, videos), Tally([0.0] * 40, videos)
    assert difference(better, worse).value == difference(better, worse).interval.high == 1
    swapped = difference(worse, better)
    assert swapped.value == -1 and swapped.p_value == pytest.approx(2 / 10_001)


def test_holm_never_reorders_and_never_exceeds_one():
    rng = np.random.default_rng(1)
    p_values = rng.random(15).tolist()
    adjusted = holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True)) and max(adjusted) <= 1
    order = np.argsort(p_values)
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)
    assert holm([]) == []


@pytest.mark.parametrize("arguments", [([], []), ([1.0], [1, 2]), ([1.0, 0.0], [1, 2], ["x"])])
def test_lists_that_do_not_fit_are_refused_in_one_sentence(arguments):
    with pytest.raises(ValueError, match=r"(scores|score)"):
        Tally(*arguments)


def test_tallies_of_different_videos_are_refused():
    with pytest.raises(ValueError, match="different videos"):
        difference(Tally([1.0], ["a"]), Tally([1.0, 0.0], ["a", "b"]))
