"""Frames are encoded once, whichever windows and clips they appear in."""

import numpy as np
import pytest
import torch

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.chat.frame_cache import FrameCache, FrameFeatures, content_key, frame_digest
from mobile_videogpt.synthetic import make_clip


@pytest.fixture
def chat(lively_chat):
    return VideoChat.from_model(lively_chat.model, lively_chat.processor)


@pytest.fixture(scope="module")
def frames():
    return [*make_clip(0).frames(), *make_clip(1).frames()]


@pytest.fixture
def encoded(chat, monkeypatch):
    """How many frames each call of the image encoder gets."""
    counts = []
    original = chat.model.encode_images

    def counting(pixels):
        counts.append(pixels.shape[1])
        return original(pixels)

    monkeypatch.setattr(chat.model, "encode_images", counting)
    return counts


def fresh(chat):
    return VideoChat.from_model(chat.model, chat.processor)


def test_a_window_that_shares_half_its_frames_encodes_the_other_half(chat, frames, encoded):
    size = chat.config.num_frames
    chat.open(frames[:size], fps=1.0)
    second = chat.open(frames[size // 2 : size // 2 + size], fps=1.0)
    assert encoded == [size, size // 2]
    alone = fresh(chat).open(frames[size // 2 : size // 2 + size], fps=1.0)
    torch.testing.assert_close(second.visual_embeds, alone.visual_embeds, rtol=1e-5, atol=1e-5)
    assert second.kept_frames == alone.kept_frames
    assert second.key == alone.key


def test_a_repeated_frame_is_encoded_once(chat, frames, encoded):
    few = chat.open(frames[:3], fps=1.0)  # padded with its last frame
    assert encoded == [3]
    pixels = chat.processor.pixels(few.frames)
    expected = chat.engine.encode(*pixels, chat.engine.stopwatch())
    torch.testing.assert_close(few.visual_embeds, expected.visual_embeds, rtol=1e-5, atol=1e-5)


def test_the_same_content_again_is_not_preprocessed(chat, frames, monkeypatch):
    size = chat.config.num_frames
    chat.open(frames[:size], fps=1.0)
    monkeypatch.setattr(chat.processor, "pixels", pytest.fail)
    chat.open(frames[:size], fps=2.0)  # other times: another clip of the same frames


def test_only_so_many_frames_are_kept(chat, frames):
    size = chat.config.num_frames
    for first in range(0, len(frames) - size, size // 2):
        chat.open(frames[first : first + size], fps=1.0)
    assert len(chat._videos.vision.frames) == chat._videos.vision.frames.max_frames == 2 * size


def test_frames_that_were_let_go_since_are_made_again(chat, frames):
    size = chat.config.num_frames
    watch = chat.engine.stopwatch()
    expected = chat.open(frames[:size], fps=1.0)
    from mobile_videogpt.video.source import read_video

    identified = chat._videos.vision.identify(read_video(frames[:size], count=size, fps=1.0))
    chat._videos.vision.make_pixels(identified)
    assert not identified.pixels  # all kept
    chat.forget()
    tokens = chat._videos.vision.encode(identified, watch)
    torch.testing.assert_close(tokens.visual_embeds, expected.visual_embeds)


def test_forgetting_lets_go_of_frames_too(chat, frames, encoded):
    size = chat.config.num_frames
    for _ in range(2):
        chat.open(frames[:size], fps=1.0)
        chat.forget()
    assert encoded == [size, size]


def test_the_frame_used_longest_ago_goes_first():
    kept = FrameCache(2)
    features = FrameFeatures(torch.zeros(1), torch.zeros(1))
    kept.add("a", features)
    kept.add("b", features)
    kept.get("a")
    kept.add("c", features)
    assert "a" in kept and "c" in kept and "b" not in kept


def test_keys_depend_on_pixels_size_times_and_weights_only():
    frame = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    digest = frame_digest(frame)
    assert digest == frame_digest(np.asfortranarray(frame))
    assert digest != frame_digest(frame.reshape(4, 2, 3))
    assert digest != frame_digest(frame + 1)
    key = content_key([0.0, 1.0], [digest, digest], "w")
    assert key == content_key((0, 1), [digest, digest], "w")
    assert key != content_key([0.0, 2.0], [digest, digest], "w")
    assert key != content_key([0.0, 1.0], [digest, digest], "v")
