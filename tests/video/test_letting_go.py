"""What decoding a video took is free when it is read, without waiting for the garbage collector."""

import gc
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_clips import write_clip

from mobile_videogpt.video.source import VideoError, probe_video, read_video
from mobile_videogpt.video.stream import stream_frames

THREADS = Path("/proc/self/task")  # of Linux
HELD = (av.VideoFrame, av.Packet, av.container.InputContainer, av.CodecContext)


@pytest.fixture
def video(tmp_path) -> Path:
    return write_clip(tmp_path / "clip.mp4", 120, options={"g": "12"}, rotation=90)


@pytest.fixture(autouse=True)
def nothing_is_collected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def held() -> tuple[int, int]:
    """How many threads there are, and how many of FFmpeg's things Python holds."""
    threads = len(os.listdir(THREADS)) if THREADS.exists() else 0
    return threads, sum(issubclass(type(thing), HELD) for thing in gc.get_objects())


def grown(before: tuple[int, int]) -> list[int]:
    """By how much each number is larger now; those of an earlier test may still be ending."""
    return [max(0, now - then) for now, then in zip(held(), before, strict=True)]


def damaged(video: Path) -> bytes:
    """The film with every tenth byte of its pictures made up."""
    content = np.frombuffer(video.read_bytes(), np.uint8).copy()
    middle = slice(len(content) // 4, len(content) // 2, 10)
    content[middle] = np.random.default_rng(0).integers(0, 256, len(content[middle]))
    return content.tobytes()


@pytest.mark.parametrize("is_damaged", [False, True])
@pytest.mark.parametrize("look", [read_video, probe_video, lambda file: list(stream_frames(file))])
def test_nothing_of_a_file_is_left(video, look, is_damaged):
    content = damaged(video) if is_damaged else video.read_bytes()
    before = held()
    with suppress(VideoError):
        look(content)
    assert grown(before) == [0, 0]


def test_nothing_is_left_of_a_stream_that_nobody_ends(video):
    before = held()
    frames = stream_frames(video, rate=24)
    next(frames)
    del frames
    assert grown(before) == [0, 0]


def test_nothing_is_left_of_what_is_no_video():
    before = held()
    for content in (b"hello\n" * 50, b"\0\0\0\x20ftypisom" + bytes(400)):
        with pytest.raises(VideoError):
            read_video(content)
    assert grown(before) == [0, 0]
