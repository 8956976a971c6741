"""Work on frames in threads gives what a loop gives."""

import threading

import numpy as np
import pytest

from mobile_videogpt.video import frame_threads
from mobile_videogpt.video.transforms import image_pixels, video_pixels


@pytest.fixture
def large():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (600, 700, 3), dtype=np.uint8) for _ in range(5)]


@pytest.mark.parametrize("pixels", [image_pixels, video_pixels])
def test_pixels_do_not_depend_on_threads(large, pixels, monkeypatch):
    monkeypatch.setattr(frame_threads.os, "cpu_count", lambda: 4)
    together = pixels(large)
    monkeypatch.setattr(frame_threads.os, "cpu_count", lambda: 1)
    assert (together == pixels(large)).all()


def test_large_frames_are_shared_out_and_small_ones_are_not(large, monkeypatch):
    monkeypatch.setattr(frame_threads.os, "cpu_count", lambda: 4)

    def who(frame):
        return threading.current_thread() is threading.main_thread()

    assert not any(frame_threads.for_each_frame(who, large))
    assert all(frame_threads.for_each_frame(who, [frame[:50, :50] for frame in large]))


def test_an_error_in_a_thread_is_raised(large, monkeypatch):
    monkeypatch.setattr(frame_threads.os, "cpu_count", lambda: 4)

    def fail(frame):
        raise ValueError("bad frame")

    with pytest.raises(ValueError, match="bad frame"):
        frame_threads.for_each_frame(fail, large)
