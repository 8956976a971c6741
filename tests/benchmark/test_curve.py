"""The curve of cost over frames, with a benchmark that only pretends."""

import pytest

from mobile_videogpt.benchmark import curve
from mobile_videogpt.benchmark.curve import draw_curve, exponent, measure_curve
from mobile_videogpt.benchmark.settings import Settings


@pytest.fixture
def asked(monkeypatch):
    numbers = []

    def pretend(settings, runs, say):
        frames = settings.num_frames
        numbers.append(frames)
        origin = dict.fromkeys(curve._SHARED, "x")
        figures = dict.fromkeys(curve._KEYS, 1.0) | {
            "visual_tokens": 150 * frames,
            "prompt_tokens": 150 * frames,
            "vision_s": 0.5 * frames,
            "ttft_s": 2.0 * frames,
        }
        parts = {"prefill": {"seconds": 0.01 * frames**1.5}}
        return {**origin, **figures, "threads": 2, "parts": parts, "num_frames": frames}

    monkeypatch.setattr(curve, "run_benchmark", pretend)
    return numbers


def test_every_number_of_frames_is_a_point_and_growth_follows(asked):
    report = measure_curve(Settings(is_random=True), [32, 8, 16, 8], runs=1)
    assert asked == [8, 16, 32]
    assert [point["num_frames"] for point in report["curve"]] == [8, 16, 32]
    assert report["growth"] == {"vision": 1.0, "prefill": 1.5}
    assert {"command", "commit", "versions", "machine"} <= report.keys()


def test_the_curve_is_drawn(asked):
    pytest.importorskip("matplotlib")
    report = measure_curve(Settings(is_random=True), [8, 16], runs=1)
    assert draw_curve(report).startswith(b"\x89PNG")


def test_growth_is_the_exponent_of_a_power_law():
    assert exponent([(1, 2), (4, 4), (16, 8)]) == 0.5
