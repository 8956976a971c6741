"""Long work is cut where somebody wants to do something else, and gives what it gave in one go."""

import numpy as np
import pytest
import torch

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.engines import torch_engine, videomamba
from mobile_videogpt.engines.base import GenerationOptions
from mobile_videogpt.engines.batching import new_batch
from mobile_videogpt.synthetic import make_clip

LONG = "Does the red circle move to the left? " * 20
SHORT = "What happens?"


@pytest.fixture(scope="module")
def chat(lively_chat):
    return VideoChat.from_model(lively_chat.model, lively_chat.processor)


@pytest.fixture
def pauses(chat, monkeypatch):
    """Every pause that the engine makes; its pieces are small."""
    monkeypatch.setattr(torch_engine, "TOKENS_AT_ONCE", 16)
    monkeypatch.setattr(videomamba, "BLOCKS_AT_ONCE", 1)
    made = []
    yield made
    chat.engine.pause = None


def frames(seed):
    return np.stack(list(make_clip(seed).frames()))


def everything(chat, seed):
    """All that an engine does, on a video that it does not know."""
    chat.forget()
    video = chat.open(frames(seed))
    answer = chat.ask(video, LONG, max_new_tokens=8).text
    scores = [score.sum for score in chat.score(video, LONG, ["left", "right", "to the top"])]
    return video.visual_embeds, answer, scores


def test_work_in_pieces_gives_what_it_gives_at_once(chat, pauses):
    embeds, answer, scores = everything(chat, 1)
    chat.engine.pause = lambda: pauses.append(1)
    in_pieces = everything(chat, 1)
    torch.testing.assert_close(in_pieces[0], embeds, atol=1e-4, rtol=1e-4)
    assert in_pieces[1] == answer
    assert in_pieces[2] == pytest.approx(scores, abs=1e-3)
    assert len(pauses) > 20


def test_options_that_take_much_memory_are_scored_in_several_passes(chat, pauses, monkeypatch):
    options = [f"{color} {shape}" for color in ("red", "blue") for shape in ("circle", "square")]
    video = chat.open(frames(2))
    expected = [score.sum for score in chat.score(video, SHORT, options)]
    monkeypatch.setattr(torch_engine, "_OPTIONS_BYTES", 1)
    chat.engine.pause = lambda: pauses.append(1)
    before = len(pauses)
    assert [s.sum for s in chat.score(video, SHORT, options)] == pytest.approx(expected, abs=1e-4)
    assert len(pauses) - before >= len(options) - 1


@pytest.mark.parametrize("kind", ["side by side", "taking turns"])
def test_answers_go_on_in_the_pauses(kind, chat, pauses, monkeypatch):
    if kind == "taking turns":
        monkeypatch.setattr(type(chat.engine), "runs_by_hand", False)
    options = GenerationOptions(max_new_tokens=400)
    first = chat.open(frames(1))
    ids = chat.processor.question_ids(SHORT)
    expected = list(chat.engine.generate(chat.prefix(first), ids, options, chat.engine.stopwatch()))
    batch = new_batch(chat.engine, 4)
    row, token = batch.add(chat.prefix(first), ids, options)
    said = [token]

    def step():
        pauses.append(1)
        said.extend(token for number, token in batch.step().items() if number == row)

    chat.engine.pause = step
    chat.forget()
    other = chat.open(frames(3))
    new, token = batch.add(chat.prefix(other), chat.processor.question_ids(LONG), options)
    assert len(said) == 1 + len(pauses) > 10
    assert said == expected[: len(said)]
    alone = chat.engine.generate(
        chat.prefix(other), chat.processor.question_ids(LONG), options, chat.engine.stopwatch()
    )
    assert [token, batch.step()[new], batch.step()[new]] == [next(alone) for _ in range(3)]


def test_a_pause_may_end_the_work(chat, pauses):
    class GivenUp(Exception):
        pass

    def give_up():
        pauses.append(1)
        if len(pauses) == 3:
            raise GivenUp

    chat.forget()
    chat.engine.pause = give_up
    with pytest.raises(GivenUp):
        chat.ask(frames(4), SHORT)
    chat.engine.pause = None
    expected = VideoChat.from_model(chat.model, chat.processor).ask(frames(4), SHORT).text
    assert chat.ask(frames(4), SHORT).text == expected
