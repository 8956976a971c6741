"""Checkpoints timed in turns: as many tokens from each, sums that hold together."""

import pytest

from mobile_videogpt.benchmark import variants
from mobile_videogpt.chat import VideoChat


@pytest.fixture
def folders(tmp_path):
    chat = VideoChat("moving-shapes", device="cpu")
    for name in ("one", "two"):
        chat.model.save_pretrained(tmp_path / name)
        chat.processor.tokenizer.save_pretrained(tmp_path / name)
    return {name: tmp_path / name for name in ("one", "two")}


def test_every_model_is_asked_in_every_round_and_the_first_is_not_counted(folders, monkeypatch):
    asked, rounds = [], []
    answer = variants._answer
    monkeypatch.setattr(
        variants, "_answer", lambda chat, frames: asked.append(id(chat)) or answer(chat, frames)
    )
    found = variants.time_variants(folders, 2, rounds.append)
    assert rounds == [0, 1, 2]
    assert asked == asked[:2] * 3 and asked[0] != asked[1]
    for times in found.values():
        assert times["ttft_low_s"] <= times["ttft_s"] <= times["ttft_high_s"]
        # All the seconds of an answer hold its tokens, decoding alone is faster.
        assert times["tokens_per_second"] < times["decode_per_second"]


def test_an_answer_goes_on_past_its_end(folders, monkeypatch):
    chat = VideoChat(str(folders["one"]), device="cpu")
    from mobile_videogpt.synthetic.world import make_clip

    seen = []
    ask = chat.ask
    monkeypatch.setattr(
        chat, "ask", lambda *a, **o: seen.append(ask(*a, **o)) or seen[-1], raising=False
    )
    variants._answer(chat, make_clip(0, "validation").frames(32, 128))
    assert seen[0].tokens["generated"] == variants.ANSWER_TOKENS
    assert seen[0].finish_reason == "length"
