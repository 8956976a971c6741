"""Frame indices: the released rule where it runs, sense where it does not."""

import json
import math
from pathlib import Path

import pytest

from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.sampling import frame_window, sample_frame_indices, spread_evenly

CASES = json.loads((Path(__file__).parents[1] / "data/golden/sampling.json").read_text())["cases"]
HANDLED = [case for case in CASES if "error" not in case["eval"]]
CRASHED = [case for case in CASES if "error" in case["eval"]]


def _sample(case: dict) -> list[int]:
    return sample_frame_indices(case["n"], case["fps"], case["s"], case["e"])


def test_every_case_that_the_released_code_handles_is_equal():
    assert len(HANDLED) > 1900
    for case in HANDLED:
        real = [index for index in case["eval"]["frames"] if index >= 0]
        assert _sample(case) == real, case


def test_every_case_that_crashes_the_released_code_gives_frames_or_one_sentence():
    assert len(CRASHED) > 400
    for case in CRASHED:
        try:
            indices = _sample(case)
        except VideoError as error:
            assert case["s"] is not None and "past the end" in str(error), case
            continue
        assert indices == sorted(set(indices)) and 1 <= len(indices) <= 16, case
        assert indices[0] >= 0 and indices[-1] < case["n"], case


@pytest.mark.parametrize("fps", [0.01, 0.3, 0.5])
def test_less_than_one_frame_in_two_seconds_uses_every_frame(fps):
    assert sample_frame_indices(10, fps) == list(range(10))
    assert sample_frame_indices(16 * 3, fps)[-1] == 47


@pytest.mark.parametrize("num_frames", range(1, 17))
def test_a_short_clip_gives_each_frame_once(num_frames):
    assert sample_frame_indices(num_frames, 25.0) == list(range(num_frames))


def test_start_equal_to_end_is_the_second_that_begins_there():
    assert sample_frame_indices(300, 10.0, 3, 3) == list(range(30, 41))


def test_reversed_seconds_are_put_in_order():
    assert sample_frame_indices(900, 30.0, 12, 5) == sample_frame_indices(900, 30.0, 5, 12)


def test_only_a_start_or_only_an_end():
    assert sample_frame_indices(300, 30.0, start=9)[0] == 270
    assert sample_frame_indices(300, 30.0, end=1)[-1] <= 30


@pytest.mark.parametrize("start", [10, 11.5, 1e9])
def test_a_start_past_the_end_is_refused(start):
    with pytest.raises(VideoError, match="past the end"):
        sample_frame_indices(300, 30.0, start, start + 5)


def test_a_reversed_stretch_is_judged_after_being_put_in_order():
    assert sample_frame_indices(300, 30.0, 20, 5)[0] == 150


@pytest.mark.parametrize(
    "arguments, named",
    [
        ((0, 30.0), "0 frames"),
        ((10, 0.0), "frame rate"),
        ((10, math.nan), "frame rate"),
        ((10, 30.0, math.nan), "start"),
        ((10, 30.0, 0, math.inf), "end"),
        ((10, None, 1.0), "frame rate"),
    ],
)
def test_impossible_arguments_are_named(arguments, named):
    with pytest.raises(VideoError, match=named):
        sample_frame_indices(*arguments)
    with pytest.raises(VideoError, match="count"):
        sample_frame_indices(10, 30.0, count=0)
    with pytest.raises(VideoError, match="rate"):
        sample_frame_indices(10, 30.0, rate=0)


def test_fractions_of_a_second_count_when_asked_for():
    assert sample_frame_indices(300, 30.0, 1.5, 9.0)[0] == 30
    exact = sample_frame_indices(300, 30.0, 1.5, 9.0, whole_seconds=False)
    assert exact[0] == 45 and exact[-1] <= 270
    assert frame_window(300, 10.0, 2.3, 2.3, whole_seconds=False) == (23, 33)


def test_whole_seconds_agree_with_exact_ones_on_integers():
    for case in HANDLED:
        if case["s"] is None or case["s"] % 1 or case["e"] % 1:
            continue
        assert _sample(case) == sample_frame_indices(
            case["n"], case["fps"], case["s"], case["e"], whole_seconds=False
        )


def test_count_and_rate():
    assert sample_frame_indices(300, 30.0, count=4) == [0, 90, 180, 270]
    assert sample_frame_indices(60, 30.0, count=4, rate=2.0) == [0, 15, 30, 45]
    assert sample_frame_indices(300, 30.0, count=1) == [0]


def test_without_a_clock_positions_are_spread_over_everything():
    assert sample_frame_indices(32, None) == list(range(0, 32, 2))
    for num_frames in range(1, 200):
        indices = spread_evenly(num_frames, 16)
        assert indices == sorted(set(indices)) and len(indices) == min(16, num_frames)
        assert num_frames - indices[-1] <= math.ceil(num_frames / 16)
