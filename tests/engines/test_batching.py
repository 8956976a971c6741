"""Answers decoded side by side are those that each would have got alone."""

import pytest

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.engines.base import GenerationOptions
from mobile_videogpt.engines.batching import SideBySide, TakingTurns, new_batch
from mobile_videogpt.synthetic import make_clip

QUESTIONS = [
    "What happens?",
    "How many objects move in this clip?",
    "Red?",
    "Which way does it go?",
]


@pytest.fixture(scope="module")
def prompts(lively_chat):
    """(prefix, question ids) over two videos and four questions of different lengths."""
    chat, found = lively_chat, []
    for seed in (0, 1):
        prefix = chat.prefix(chat.open(make_clip(seed).frames()))
        found += [(prefix, chat.processor.question_ids(question)) for question in QUESTIONS]
    return found


def alone(chat, prompt, options):
    return list(chat.engine.generate(*prompt, options, chat.engine.stopwatch()))


def together(batch, prompts, options, stagger=0):
    """Every answer; with `stagger`, a question comes in after so many steps."""
    answers, places, waiting = {}, {}, list(enumerate(zip(prompts, options, strict=True)))
    while waiting or len(batch):
        number = len(prompts) if not stagger else 1
        for place, (prompt, option) in waiting[:number]:
            row, token = batch.add(*prompt, option)
            places[row] = place
            answers[place] = [] if token is None else [token]
        del waiting[:number]
        for _ in range(stagger or 1):
            for row, token in batch.step().items():
                answers[places[row]] += [] if token is None else [token]
    return [answers[place] for place in range(len(prompts))]


def make_batch(kind, chat):
    engine = chat.engine
    return new_batch(engine, 8) if kind == "side by side" else TakingTurns(engine)


def test_the_torch_engine_decodes_side_by_side(lively_chat):
    assert isinstance(make_batch("side by side", lively_chat), SideBySide)


@pytest.mark.parametrize("kind", ["side by side", "taking turns"])
@pytest.mark.parametrize("stagger", [0, 3])
def test_answers_are_those_of_one_at_a_time(kind, stagger, lively_chat, prompts):
    options = [GenerationOptions(max_new_tokens=4 + 5 * place) for place in range(len(prompts))]
    expected = [alone(lively_chat, *pair) for pair in zip(prompts, options, strict=True)]
    assert len({tuple(answer) for answer in expected}) > 4  # the test must be able to fail
    batch = make_batch(kind, lively_chat)
    assert together(batch, prompts, options, stagger) == expected
    assert len(batch) == 0


@pytest.mark.parametrize("kind", ["side by side", "taking turns"])
def test_each_answer_samples_by_its_own_seed(kind, lively_chat, prompts):
    options = [
        GenerationOptions(max_new_tokens=12, do_sample=True, temperature=1.5, seed=seed)
        for seed in range(len(prompts))
    ]
    expected = [alone(lively_chat, *pair) for pair in zip(prompts, options, strict=True)]
    assert together(make_batch(kind, lively_chat), prompts, options) == expected


@pytest.mark.parametrize("kind", ["side by side", "taking turns"])
def test_answers_that_are_given_up_leave_the_others_alone(kind, lively_chat, prompts):
    options = GenerationOptions(max_new_tokens=20)
    batch = make_batch(kind, lively_chat)
    rows = [batch.add(*prompt, options)[0] for prompt in prompts[:4]]
    kept = alone(lively_chat, prompts[3], options)
    found = [kept[0]]
    for step in range(19):
        if step in (2, 5):
            batch.remove(rows[step // 5])
            batch.remove(rows[step // 5])  # twice is no error
        token = batch.step().get(rows[3])
        found += [] if token is None else [token]
    assert found == kept


def test_a_cache_that_must_grow_keeps_what_it_holds(lively_chat, prompts, monkeypatch):
    monkeypatch.setattr("mobile_videogpt.engines.torch_readings.SPARE_TOKENS", 8)
    options = [GenerationOptions(max_new_tokens=40)] * 3
    expected = [alone(lively_chat, *pair) for pair in zip(prompts[:3], options, strict=True)]
    batch = make_batch("side by side", lively_chat)
    assert together(batch, prompts[:3], options, stagger=2) == expected


def test_merged_tokens_keep_their_places(lively_chat):
    chat = VideoChat.from_model(lively_chat.model, lively_chat.processor, merge_tokens=0.5)
    clips = [make_clip(seed).frames() for seed in (0, 1, 2)]
    prompts = [(chat.prefix(chat.open(c)), chat.processor.question_ids("Why?")) for c in clips]
    assert any(prefix.gap for prefix, _ in prompts)
    options = [GenerationOptions(max_new_tokens=15)] * 3
    expected = [alone(chat, *pair) for pair in zip(prompts, options, strict=True)]
    assert together(new_batch(chat.engine, 4), prompts, options, stagger=2) == expected


def test_a_model_in_8_bits_decodes_side_by_side():
    chat = VideoChat("moving-shapes", device="cpu", dtype="int8")
    prompts = [(chat.prefix(chat.open(make_clip(0).frames())), [20 + n, 30]) for n in range(3)]
    options = [GenerationOptions(max_new_tokens=10)] * 3
    expected = [alone(chat, *pair) for pair in zip(prompts, options, strict=True)]
    batch = new_batch(chat.engine, 4)
    assert isinstance(batch, SideBySide)
    assert together(batch, prompts, options, stagger=1) == expected


class OnlyThese:
    """A guide to one sequence of tokens."""

    def __init__(self, token_ids):
        self.token_ids, self.accepted = token_ids, []

    def restrict(self, logits):
        allowed = self.token_ids[len(self.accepted)]
        kept = logits[0, allowed].item()
        logits.fill_(float("-inf"))
        logits[0, allowed] = kept

    def accept(self, token_id):
        self.accepted.append(token_id)


@pytest.mark.parametrize("kind", ["side by side", "taking turns"])
def test_a_guide_decides_what_may_be_said(kind, lively_chat, prompts):
    end = lively_chat.end_token_ids[0]
    guide = OnlyThese([40, 41, 42, end])
    options = [GenerationOptions(max_new_tokens=9, guide=guide)]
    assert together(make_batch(kind, lively_chat), prompts[:1], options) == [[40, 41, 42]]
    assert guide.accepted == [40, 41, 42, end]
