"""A new video is taken in piece by piece: streams go on, short questions overtake."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from running_server import NAME, ask_about, running, twin, wait_until

from mobile_videogpt.engines import torch_engine
from mobile_videogpt.engines.base import GenerationOptions
from mobile_videogpt.processor.messages import Message
from mobile_videogpt.serving.errors import ApiError
from mobile_videogpt.serving.jobs import Job, Order
from mobile_videogpt.serving.scheduling import scheduler
from mobile_videogpt.serving.scheduling.waiting import WaitingLine

QUESTION = "What happens?"


class Pauses:
    """The engine's pauses: counted, and as long as a test wants."""

    def __init__(self, scheduler):
        self.count = 0
        self.is_held = False
        self._scheduler = scheduler
        self._pause = scheduler._engine.pause
        scheduler._engine.pause = self

    def __call__(self):
        self.count += 1
        self._pause()
        while self.is_held and len(self._scheduler._taken_in) == 1:
            time.sleep(0.002)
            self._pause()


@pytest.fixture
def server(lively_chat, monkeypatch):
    monkeypatch.setattr(torch_engine, "TOKENS_AT_ONCE", 16)
    monkeypatch.setattr(scheduler, "_BREATH_S", 0.0)
    with running(twin(lively_chat)) as server:
        yield server


@pytest.fixture
def pauses(server):
    return Pauses(server.service.scheduler)


def ask(server, data, max_tokens=3, timeout=60.0, question=QUESTION, **options):
    client = openai.OpenAI(
        base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=timeout
    )
    return client.chat.completions.create(
        model=NAME, messages=ask_about(data, question), max_tokens=max_tokens, **options
    )


def test_a_stream_gets_a_token_in_every_pause(server, pauses, clip_bytes):
    stream = ask(server, clip_bytes(1), max_tokens=1000, stream=True)
    next(stream)
    counters = server.service.scheduler.counters
    before, tokens = pauses.count, counters.generated_tokens
    ask(server, clip_bytes(2), max_tokens=1)
    assert pauses.count - before > 10
    assert counters.generated_tokens - tokens >= pauses.count - before
    stream.close()


def test_a_long_question_is_read_in_pieces_too(server, pauses, clip_bytes):
    ask(server, clip_bytes(1), max_tokens=1)
    before = pauses.count
    ask(server, clip_bytes(1), max_tokens=1, question="Does the red circle move? " * 20)
    assert pauses.count - before > 4


def test_a_question_about_a_known_video_overtakes_a_new_one(server, pauses, clip_bytes):
    expected = ask(server, clip_bytes(1), max_tokens=20).choices[0].message.content
    pauses.is_held = True
    with ThreadPoolExecutor(1) as pool:
        newcomer = pool.submit(ask, server, clip_bytes(2), max_tokens=20)
        wait_until(lambda: server.service.scheduler._taken_in)
        known = ask(server, clip_bytes(1), max_tokens=20)
        assert known.choices[0].message.content == expected
        assert not newcomer.done()
        pauses.is_held = False
        alone = ask(server, clip_bytes(2), max_tokens=20).choices[0].message.content
        assert newcomer.result(60).choices[0].message.content == alone


def test_a_new_video_does_not_overtake_another(server, pauses, clip_bytes):
    pauses.is_held = True
    scheduler = server.service.scheduler
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, server, clip_bytes(2))
        wait_until(lambda: scheduler._taken_in)
        second = pool.submit(ask, server, clip_bytes(3))
        wait_until(lambda: scheduler.num_waiting == 1)
        time.sleep(0.1)
        assert scheduler.num_waiting == 1 and len(scheduler._taken_in) == 1
        pauses.is_held = False
        assert first.result(60).usage and second.result(60).usage


def test_who_leaves_while_the_video_is_encoded_ends_that(server, pauses, clip_bytes):
    pauses.is_held = True
    scheduler = server.service.scheduler
    with pytest.raises(openai.APITimeoutError):
        ask(server, clip_bytes(2), timeout=1.5)
    wait_until(lambda: not scheduler._taken_in)
    wait_until(lambda: len(server.service.library) == 0)  # nor are its frames kept
    assert scheduler.counters.encoded_videos == 0
    pauses.is_held = False
    assert ask(server, clip_bytes(2)).usage.completion_tokens == 3


def test_two_who_send_the_same_video_have_it_encoded_once(server, pauses, clip_bytes):
    pauses.is_held = True
    scheduler = server.service.scheduler
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask, server, clip_bytes(2), max_tokens=9) for _ in range(3)]
        wait_until(lambda: scheduler.num_waiting == 2)
        pauses.is_held = False
        answers = {one.result(60).choices[0].message.content for one in asked}
    assert len(answers) == 1 and scheduler.counters.encoded_videos == 1


def test_stopping_ends_what_is_being_taken_in(lively_chat, clip_bytes):
    with running(twin(lively_chat), shutdown_s=0.5) as server, ThreadPoolExecutor(1) as pool:
        pauses = Pauses(server.service.scheduler)
        pauses.is_held = True
        body = {"messages": ask_about(clip_bytes(2), QUESTION)}
        url = f"{server.url}/v1/chat/completions"
        asked = pool.submit(httpx.post, url, json=body, timeout=60)
        wait_until(lambda: server.service.scheduler._taken_in)
        server.server.should_exit = True
        assert asked.result(60).status_code == 503


def job(owner, answers=1):
    order = Order((Message("user", QUESTION),), (GenerationOptions(),) * answers)
    return Job(order, (), deadline=1e12, owner=owner, loop=None, events=None)


def test_clients_take_turns():
    line = WaitingLine()
    jobs = [job("a") for _ in range(3)] + [job("b"), job("c")]
    for one in jobs:
        line.add(one)
    busy, order = Counter(), []
    while (taken := line.take(busy, room=16)) is not None:
        busy[taken.owner] += 1
        order.append(jobs.index(taken))
    assert order == [0, 3, 4, 1, 2]


def test_who_needs_much_room_is_not_overtaken_for_ever():
    line = WaitingLine()
    large, small = job("a", answers=8), job("a")
    line.add(large)
    line.add(small)
    assert line.take(Counter(b=10), room=6) is None
    assert line.take(Counter(b=8), room=8) is large
    assert line.take(Counter(a=8, b=8), room=0) is None
    assert line.remove(lambda job: job is small) == [small] and not line


def test_answers_that_are_given_up_while_they_begin_leave_nothing(server, pauses, clip_bytes):
    """The time of a job ends between two of its answers."""
    scheduler = server.service.scheduler
    ask(server, clip_bytes(1))
    batch, given_up = scheduler._answers.batch, []
    add = batch.add

    def add_and_fail(*args):
        found = add(*args)
        if len(batch) == 2:
            given_up.append(scheduler._answers._running[-1])
            scheduler._answers.fail_all(ApiError(504, "too late", "timeout"))
        return found

    batch.add = add_and_fail
    with pytest.raises(openai.APIStatusError) as caught:
        ask(server, clip_bytes(1), n=4, max_tokens=50)
    batch.add = add
    assert caught.value.status_code == 504 and given_up
    wait_until(lambda: len(batch) == 0 and scheduler.num_running == 0)
    assert ask(server, clip_bytes(1)).usage.completion_tokens == 3
