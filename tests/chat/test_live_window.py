"""The window over a stream: which frames each window holds, and that shared ones are reused."""

import itertools

import numpy as np
import pytest
import torch

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.chat.live_window import slide
from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.video.source import VideoError


def numbered(count):
    """Frames that tell their number, one per second."""
    return [(float(n), np.full((8, 8, 3), n, dtype=np.uint8)) for n in range(count)]


def indices(count, size, hop):
    return [clip.frame_indices for clip in slide(numbered(count), size, hop, "test")]


@pytest.fixture
def chat(lively_chat):
    return VideoChat.from_model(lively_chat.model, lively_chat.processor)


def test_windows_move_on_by_the_hop():
    assert indices(8, 4, 2) == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    assert indices(6, 4, 1) == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]
    assert indices(8, 4, 4) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_what_remains_at_the_end_makes_a_last_window():
    assert indices(7, 4, 2) == [[0, 1, 2, 3], [2, 3, 4, 5], [3, 4, 5, 6]]


def test_a_short_stream_is_padded_by_its_last_frame():
    (clip,) = slide(numbered(2), 4, 2, "test")
    assert clip.frame_indices == [0, 1, 1, 1]
    assert clip.frame_times == [0.0, 1.0, 1.0, 1.0]
    assert [int(frame[0, 0, 0]) for frame in clip.frames] == [0, 1, 1, 1]


def test_an_endless_stream_is_read_only_as_far_as_windows_are_taken():
    read = []

    def camera():
        for n in itertools.count():
            read.append(n)
            yield float(n), np.zeros((8, 8, 3), dtype=np.uint8)

    next(slide(camera(), 4, 2, "test"))
    assert read == [0, 1, 2, 3]


@pytest.mark.parametrize("hop", [0, 5, -1])
def test_a_hop_out_of_range_is_named(hop):
    with pytest.raises(ValueError, match=f"hop is {hop}; a window of 4 frames"):
        slide(numbered(4), 4, hop, "test")


def test_a_stream_without_frames_is_an_error():
    with pytest.raises(VideoError, match="gave no frame"):
        list(slide([], 4, 2, "the stream"))


def test_windows_of_a_file_are_those_of_the_frames_one_by_one(chat, clip_file, monkeypatch):
    counts = []
    original = chat.model.encode_images
    monkeypatch.setattr(
        chat.model, "encode_images", lambda p: counts.append(p.shape[1]) or original(p)
    )
    size = chat.config.num_frames  # 16 of the file's 32 frames, which are an eighth apart
    windows = list(chat.stream_window(clip_file, rate=8.0))
    assert [window.frame_times[0] for window in windows] == [0.0, 1.0, 2.0]
    assert windows[-1].frame_times[-1] == pytest.approx(31 / 8)
    assert counts == [size, size // 2, size // 2]
    other = VideoChat.from_model(chat.model, chat.processor)
    for window in windows:
        alone = other.open(window.frames, fps=8.0)
        torch.testing.assert_close(window.visual_embeds, alone.visual_embeds, rtol=1e-5, atol=1e-5)
    answer = chat.ask(windows[-1], "What happens?", max_new_tokens=4)
    assert answer.timings["image_encoder"] == 0


def test_a_camera_may_give_bare_frames_or_pairs(chat):
    frames = make_clip(0).frames()[:20]
    bare = list(chat.stream_window(iter(frames), fps=4.0, hop=4))
    pairs = list(chat.stream_window(((n / 4, frame) for n, frame in enumerate(frames)), hop=4))
    assert [w.frame_times for w in bare] == [w.frame_times for w in pairs]
    assert [w.key for w in bare] == [w.key for w in pairs]
    assert len(bare) == 2


def test_a_part_of_a_camera_cannot_be_asked_for(chat):
    with pytest.raises(ValueError, match="an iterator of frames begins where it is"):
        next(chat.stream_window(iter([]), start=1.0))
