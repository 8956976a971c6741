"""Many clients, one model: batches, cancellation, time limits, overload, an orderly end."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from running_server import NAME, ask_about, running, slowly, twin, wait_until

QUESTION = "What happens?"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def slow_server(lively_chat, request):
    """Answers of as many tokens as are asked for, one every 20 ms."""
    options = getattr(request, "param", {})
    with slowly(lively_chat, **options) as server:
        yield server


def client_of(server, **options):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, **options)


def ask(server, data, max_tokens=1000, **options):
    return client_of(server).chat.completions.create(
        model=NAME, messages=ask_about(data, QUESTION), max_tokens=max_tokens, **options
    )


def test_answers_under_way_share_their_steps(slow_server, clip_bytes):
    with ThreadPoolExecutor(4) as pool:
        data = clip_bytes(1)
        answers = list(pool.map(lambda _: ask(slow_server, data, max_tokens=40), range(4)))
    assert len({answer.choices[0].message.content for answer in answers}) == 1
    counters = slow_server.service.scheduler.counters
    assert counters.generated_tokens == 160
    assert counters.steps < 100
    assert counters.encoded_videos == 1


def test_a_stream_that_is_closed_ends_its_answer(slow_server, clip_bytes):
    stream = ask(slow_server, clip_bytes(1), stream=True)
    for _ in range(3):
        next(stream)
    scheduler = slow_server.service.scheduler
    assert scheduler.num_running == 1
    stream.close()
    wait_until(lambda: scheduler.num_running == 0)
    assert scheduler.counters.generated_tokens < 200
    assert ask(slow_server, clip_bytes(1), max_tokens=3).usage.completion_tokens == 3


def test_a_client_that_gives_up_ends_its_answer(slow_server, clip_bytes):
    with pytest.raises(openai.APITimeoutError):
        client_of(slow_server, timeout=1.5).chat.completions.create(
            model=NAME, messages=ask_about(clip_bytes(1), QUESTION), max_tokens=1000
        )
    scheduler = slow_server.service.scheduler
    wait_until(lambda: scheduler.num_running == 0, seconds=2)
    assert scheduler.is_alive and not slow_server.service._jobs


@pytest.mark.parametrize("slow_server", [{"request_timeout_s": 1.5}], indirect=True)
def test_a_request_that_takes_too_long_is_told_so(slow_server, clip_bytes):
    ask(slow_server, clip_bytes(1), max_tokens=2)
    with pytest.raises(openai.APIStatusError) as caught:
        ask(slow_server, clip_bytes(1))
    assert caught.value.status_code == 504 and caught.value.code == "timeout"
    pieces = []
    with pytest.raises(openai.APIError, match="longer than this server allows"):
        for chunk in ask(slow_server, clip_bytes(1), stream=True):
            pieces.append(chunk)
    assert len(pieces) > 3
    wait_until(lambda: slow_server.service.scheduler.num_running == 0)


@pytest.mark.parametrize("slow_server", [{"max_requests": 2}], indirect=True)
def test_more_requests_than_allowed_are_told_to_come_back(slow_server, clip_bytes):
    ask(slow_server, clip_bytes(1), max_tokens=2)
    streams = [ask(slow_server, clip_bytes(1), stream=True) for _ in range(2)]
    with pytest.raises(openai.RateLimitError) as caught:
        ask(slow_server, clip_bytes(1))
    assert caught.value.response.headers["retry-after"] == "1"
    for stream in streams:
        stream.close()
    # OpenAI's client comes back by itself.
    patient = openai.OpenAI(base_url=f"{slow_server.url}/v1", api_key="none", max_retries=5)
    answer = patient.chat.completions.create(
        model=NAME, messages=ask_about(clip_bytes(1), QUESTION), max_tokens=3
    )
    assert answer.usage.completion_tokens == 3


@pytest.mark.parametrize("slow_server", [{"max_answers": 1}], indirect=True)
def test_who_waits_is_served_in_turn(slow_server, clip_bytes):
    ask(slow_server, clip_bytes(1), max_tokens=2)
    order, threads = [], []
    scheduler = slow_server.service.scheduler

    def one(number):
        ask(slow_server, clip_bytes(1), max_tokens=60 if number == 0 else 20)
        order.append(number)

    for number in range(4):
        threads.append(threading.Thread(target=one, args=(number,)))
        threads[-1].start()
        arrived = number
        wait_until(lambda: scheduler.num_running + scheduler.num_waiting > arrived)  # noqa: B023
    for thread in threads:
        thread.join(60)
    assert order == [0, 1, 2, 3]


@pytest.mark.parametrize("slow_server", [{"max_answers": 1}], indirect=True)
def test_who_leaves_the_queue_costs_nothing(slow_server, clip_bytes):
    ask(slow_server, clip_bytes(1), max_tokens=2)
    scheduler = slow_server.service.scheduler
    stream = ask(slow_server, clip_bytes(1), max_tokens=400, stream=True)
    next(stream)
    waiting = client_of(slow_server, timeout=1.0)
    with pytest.raises(openai.APITimeoutError):
        waiting.chat.completions.create(model=NAME, messages=ask_about(clip_bytes(2), QUESTION))
    wait_until(lambda: scheduler.num_waiting == 0)
    assert scheduler.counters.encoded_videos == 1  # the second video was never looked at
    wait_until(lambda: len(slow_server.service.library) == 1)  # nor are its frames kept
    stream.close()


def test_a_failure_of_one_request_leaves_the_others_alone(slow_server, clip_bytes, monkeypatch):
    stream = ask(slow_server, clip_bytes(1), max_tokens=60, stream=True)
    next(stream)
    chat = slow_server.service.scheduler._intake._chat

    def broken(*args, **kwargs):
        raise RuntimeError("secret detail")

    with monkeypatch.context() as patch:
        patch.setattr(chat, "open", broken)
        with pytest.raises(openai.InternalServerError) as caught:
            ask(slow_server, clip_bytes(2))
    assert "secret" not in caught.value.response.text
    assert len(list(stream)) > 30
    assert ask(slow_server, clip_bytes(2), max_tokens=3).usage.completion_tokens == 3


def test_stopping_lets_answers_end_and_takes_no_more(lively_chat, clip_bytes):
    with running(twin(lively_chat), shutdown_s=20.0) as server:
        whole = ask(server, clip_bytes(1), max_tokens=300).choices[0].message.content
        stream = ask(server, clip_bytes(1), max_tokens=300, stream=True)
        pieces = [next(stream)]
        server.server.should_exit = True
        pieces += list(stream)
        said = "".join(c.choices[0].delta.content or "" for c in pieces if c.choices)
        assert said == whole
        with pytest.raises((openai.APIConnectionError, openai.InternalServerError)):
            ask(server, clip_bytes(1))


@pytest.mark.parametrize("slow_server", [{"shutdown_s": 0.5}], indirect=True)
def test_stopping_refuses_what_does_not_end_in_time(slow_server, clip_bytes):
    stream = ask(slow_server, clip_bytes(1), stream=True)
    next(stream)
    slow_server.server.should_exit = True
    with pytest.raises(openai.APIError, match="shutting down"):
        list(stream)


def test_the_command_serves_and_ends_on_a_signal(clip_bytes):
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "mobile_videogpt", "serve", "--port", "0", "--decoders", "1"],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        while "is served at" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        url = re.search(r"http://[\d.:]+", said).group()
        body = {"messages": ask_about(clip_bytes(1), QUESTION)}
        reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
        assert reply.json()["choices"][0]["message"]["content"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.communicate()


def test_usage_and_contents_are_valid_json_lines(shared_server, clip_bytes):
    body = {"messages": ask_about(clip_bytes(1), QUESTION), "stream": True}
    with httpx.stream(
        "POST", f"{shared_server.url}/v1/chat/completions", json=body, timeout=60
    ) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in reply.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        json.loads(line.removeprefix("data: "))


def test_the_videos_of_a_server_are_bounded(miniature, clip_bytes):
    with running(twin(miniature), max_videos=2) as server:
        for seed in (1, 2, 3, 1):
            answer = ask(server, clip_bytes(seed), max_tokens=20).choices[0].message.content
            video = miniature.open(io.BytesIO(clip_bytes(seed)))
            assert answer == miniature.ask(video, QUESTION, max_new_tokens=20).text
        assert len(server.service.library) == 2
        assert server.service.library.misses == 4
