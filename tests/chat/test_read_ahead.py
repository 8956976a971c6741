"""Opening many videos: the next is decoded meanwhile, order and errors stay with their video."""

import threading
import time

import pytest

from mobile_videogpt.chat import EncodedVideo, VideoChat, VideoPart, open_videos
from mobile_videogpt.chat.read_ahead import read_ahead
from mobile_videogpt.synthetic import make_clip


def wait_until(happens, seconds=60):
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.005)


@pytest.fixture
def chat(lively_chat):
    return VideoChat.from_model(lively_chat.model, lively_chat.processor)


def test_the_next_is_prepared_while_this_one_is_worked_on():
    prepared = [threading.Event() for _ in range(3)]

    def prepare(number):
        prepared[number].set()
        return number * 10

    for number, future in read_ahead(prepare, range(3), ahead=1):
        assert future.result() == number * 10
        if number < 2:
            assert prepared[number + 1].wait(60), "nothing was read ahead"


def test_no_more_than_asked_for_is_read_ahead():
    begun = []
    results = read_ahead(lambda number: begun.append(number), range(10), ahead=2)
    next(results)
    wait_until(lambda: len(begun) == 3)
    assert begun == [0, 1, 2]
    results.close()
    assert begun == [0, 1, 2]


def test_whoever_stops_early_leaves_the_rest_undone():
    begun = []
    slow = threading.Event()

    def prepare(number):
        begun.append(number)
        slow.wait(60)

    results = read_ahead(prepare, range(5), ahead=3)
    next(results)
    wait_until(lambda: begun == [0])
    results.close()
    slow.set()
    wait_until(lambda: not any(t.name.startswith("read-ahead") for t in threading.enumerate()))
    assert begun == [0]


def test_each_video_is_what_open_returns_or_raises(chat, clip_file, tmp_path):
    missing = tmp_path / "missing.mp4"
    frames = make_clip(1).frames()
    found = list(chat.open_each([clip_file, missing, frames], end=3.0, fps=8.0))
    assert [video for video, _ in found][:2] == [clip_file, missing]
    first, error, last = (result for _, result in found)
    other = VideoChat.from_model(chat.model, chat.processor)
    assert isinstance(first, EncodedVideo)
    assert first.key == other.open(clip_file, end=3.0).key
    assert first.timings["decode"] > 0
    assert "does not exist" in str(error)
    assert last.key == other.open(frames, end=3.0, fps=8.0).key


def test_parts_of_videos_say_themselves_where_they_begin_and_end(chat, clip_file):
    frames = make_clip(1).frames()
    parts = [VideoPart(clip_file, 1.0, 3.0), VideoPart(frames, end=2.0, fps=4.0), clip_file]
    videos = [video for _, video in chat.open_each(parts, start=0.5)]
    other = VideoChat.from_model(chat.model, chat.processor)
    assert [video.key for video in videos] == [
        other.open(clip_file, start=1.0, end=3.0).key,
        other.open(frames, end=2.0, fps=4.0).key,
        other.open(clip_file, start=0.5).key,
    ]


def test_decoding_happens_in_another_thread(chat, clip_file, monkeypatch):
    threads = []
    original = open_videos.read_video

    def read(*args, **kwargs):
        threads.append(threading.current_thread())
        return original(*args, **kwargs)

    monkeypatch.setattr(open_videos, "read_video", read)
    list(chat.open_each([clip_file, clip_file]))
    assert len(threads) == 2
    assert threading.main_thread() not in threads
