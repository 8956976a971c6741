"""Frames of a video at a steady rate, from the first to the last."""

import numpy as np
import pytest

from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.source import read_video
from mobile_videogpt.video.stream import stream_frames


def test_frames_come_at_the_rate_in_order(clip_file):
    found = list(stream_frames(clip_file, rate=2.0))  # the file has 8 a second for 4 s
    assert [seconds for seconds, _ in found] == pytest.approx([n / 2 for n in range(8)])


def test_they_are_the_frames_that_sampling_reads(clip_file):
    clip = read_video(clip_file, count=16)
    found = dict(stream_frames(clip_file, rate=8.0))
    for seconds, frame in zip(clip.frame_times, clip.frames, strict=True):
        assert np.array_equal(found[seconds], frame)


def test_a_stretch_can_be_asked_for(clip_file):
    times = [seconds for seconds, _ in stream_frames(clip_file, rate=1.0, start=1.0, end=2.5)]
    assert times == [1.0, 2.0]


def test_pictures_without_a_clock_come_one_by_one():
    frames = [np.full((4, 4, 3), n, dtype=np.uint8) for n in range(5)]
    assert [int(frame[0, 0, 0]) for _, frame in stream_frames(frames)] == [0, 1, 2, 3, 4]


def test_a_rate_of_nothing_is_refused(clip_file):
    with pytest.raises(VideoError, match="positive number"):
        next(stream_frames(clip_file, rate=0.0))
