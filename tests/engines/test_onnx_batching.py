"""Answers that the ONNX engine decodes side by side are those that each would have got alone."""

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mobile_videogpt.engines.base import GenerationOptions
from mobile_videogpt.engines.batching import SideBySide, TakingTurns, new_batch
from mobile_videogpt.engines.loops.int4 import instructions
from mobile_videogpt.engines.onnx import language_loops
from mobile_videogpt.engines.onnx_engine import OnnxEngine
from mobile_videogpt.synthetic import make_clip

pytestmark = pytest.mark.skipif(
    instructions() is None, reason="this processor has none of the instructions"
)
QUESTIONS = ("What happens?", "How many objects move in this clip?", "Red?")


def open_engine(chat, folder):
    return OnnxEngine(folder, chat.config, chat.end_token_ids, chat.model.generation_config)


@pytest.fixture
def engine(lively_chat, lively_int4_folder, monkeypatch):
    monkeypatch.setattr(language_loops, "WORTHWHILE_BYTES", 0)
    return open_engine(lively_chat, lively_int4_folder)


@pytest.fixture
def prompts(lively_chat, engine):
    """(prefix, question ids): two videos, the first with two questions."""
    found = []
    for seed, questions in ((0, QUESTIONS[:2]), (1, QUESTIONS[2:])):
        frames = lively_chat.open(np.stack(list(make_clip(seed).frames()))).frames
        tokens = engine.encode(*lively_chat.processor.pixels(frames), engine.stopwatch())
        prefix = engine.prefill(lively_chat.processor.prefix_ids(), tokens.visual_embeds)
        found += [(prefix, lively_chat.processor.question_ids(text)) for text in questions]
    return found


def alone(engine, prompt, options):
    return list(engine.generate(*prompt, options, engine.stopwatch()))


OPTIONS = [
    GenerationOptions(max_new_tokens=20),
    GenerationOptions(max_new_tokens=9, do_sample=True, temperature=1.5, seed=3),
    GenerationOptions(max_new_tokens=1),
]


@pytest.mark.parametrize("stagger", [0, 3])
def test_answers_are_those_of_one_at_a_time(engine, prompts, stagger):
    expected = [alone(engine, *pair) for pair in zip(prompts, OPTIONS, strict=True)]
    assert len({tuple(answer) for answer in expected}) == 3
    batch = new_batch(engine, 4)
    assert isinstance(batch, SideBySide)
    rows, found = {}, []
    for prompt, options in zip(prompts, OPTIONS, strict=True):
        row, token = batch.add(*prompt, options)
        rows[row] = len(found)
        found.append([] if token is None else [token])
        for _ in range(stagger):
            collect(batch, rows, found)
    while len(batch):
        collect(batch, rows, found)
    assert found == expected


def collect(batch, rows, found):
    for row, token in batch.step().items():
        found[rows[row]] += [] if token is None else [token]


def test_an_answer_that_ends_gives_its_cache_back(engine, prompts):
    batch = new_batch(engine, 4)
    rows = [batch.add(*prompt, GenerationOptions(max_new_tokens=30))[0] for prompt in prompts]
    batch.step()
    kept = alone(engine, prompts[2], GenerationOptions(max_new_tokens=30))
    batch.remove(rows[0])
    batch.remove(rows[0])  # twice is no error
    assert len(batch) == 2
    prefix = prompts[0][0]
    with prefix.state.continued(1) as cache:
        assert cache is prefix.state and cache.length == len(prefix.token_ids)
    found = [batch.step().get(rows[2]) for _ in kept[2:]]
    assert found == kept[2:]


def test_without_the_loops_they_take_turns(lively_chat, lively_int4_folder):
    engine = open_engine(lively_chat, lively_int4_folder)
    assert isinstance(new_batch(engine, 4), TakingTurns)
