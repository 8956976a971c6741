"""Clients that hold connections, hang up halfway, or send heads without end."""

import json
import socket
import time
from contextlib import ExitStack

import httpx
import pytest
from running_server import ask_about, running, twin, wait_until

from mobile_videogpt.serving.api import connections

QUESTION = "What happens?"


@pytest.fixture
def server(miniature, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 1.5)
    with running(twin(miniature)) as server:
        yield server


def connect(server):
    port = int(server.url.rsplit(":", 1)[1])
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def is_closed(connection):
    """Wait until the other side has hung up; whatever it says before."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def is_idle(server):
    state = server.server.server_state
    return not state.connections and not state.tasks and not server.service._jobs


def completion(data, **options):
    body = json.dumps({"messages": ask_about(data, QUESTION), **options}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body


def test_a_connection_without_a_request_is_closed(server):
    with connect(server) as silent:
        assert is_closed(silent)
    wait_until(lambda: is_idle(server))


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(server):
    with connect(server) as slow:
        slow.settimeout(0.05)
        end = time.monotonic() + 20
        try:
            slow.sendall(b"GET /healthz HTTP/1.1\r\n")
            while time.monotonic() < end:
                slow.sendall(b"X-A: b\r\n")
                time.sleep(0.05)
            pytest.fail("the server waits for ever")
        except ConnectionError:
            pass
    wait_until(lambda: is_idle(server))


def test_a_body_that_nobody_wants_is_not_read_for_ever(miniature, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 1.5)
    with running(twin(miniature), max_body_bytes=1000) as server, connect(server) as endless:
        endless.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n"
        )
        assert b" 413 " in endless.recv(65536).split(b"\r\n")[0]
        end = time.monotonic() + 20
        try:
            while time.monotonic() < end:
                endless.sendall(b"x")
                time.sleep(0.02)
            pytest.fail("the server reads on")
        except ConnectionError:
            pass


def test_many_idle_connections_keep_nobody_out(server, clip_bytes):
    with ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(connect(server)).sendall(b"POST /v1/chat/comp")
        reply = httpx.post(
            f"{server.url}/v1/chat/completions",
            json={"messages": ask_about(clip_bytes(1), QUESTION)},
            timeout=60,
        )
        assert reply.status_code == 200
        wait_until(lambda: is_idle(server))


def test_a_request_that_is_answered_slowly_keeps_its_connection(server, clip_bytes):
    """Patience is for requests that do not come, not for answers."""
    scheduler = server.service.scheduler
    step = scheduler._answers.batch.step

    def slow_step():
        time.sleep(0.3)
        return step()

    scheduler._answers.batch.step = slow_step
    with httpx.Client(base_url=server.url, timeout=60) as client:
        body = {"messages": ask_about(clip_bytes(1), QUESTION), "max_tokens": 6}
        reply = client.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200 and reply.json()["usage"]["completion_tokens"] > 3


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_client_that_closes_its_half_leaves_nothing_behind(server, clip_bytes, is_streamed):
    head, body = completion(clip_bytes(1), stream=is_streamed)
    with connect(server) as half:
        half.sendall(head + body)
        half.shutdown(socket.SHUT_WR)
        assert is_closed(half)
    wait_until(lambda: is_idle(server))


def test_a_client_that_hangs_up_within_its_body_leaves_nothing_behind(server, clip_bytes):
    head, body = completion(clip_bytes(1))
    for cut in (0, 1, len(body) // 2, len(body) - 1):
        with connect(server) as connection:
            connection.sendall(head + body[:cut])
    wait_until(lambda: is_idle(server))
    assert server.service.scheduler.counters.prompt_tokens == 0


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n" + b"X-Flood: " + b"a" * 100_000,
        b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(20_000)),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"GET /" + b"a" * 200_000,
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    ],
)
def test_broken_and_endless_heads_are_refused(server, head):
    with connect(server) as connection:
        try:
            connection.sendall(head)
            reply = connection.recv(65536)
        except ConnectionError:
            reply = b""
        assert not reply or b" 400 " in reply.split(b"\r\n")[0] or b" 415 " in reply
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    wait_until(lambda: is_idle(server))


def test_an_upgrade_to_another_protocol_is_no_way_in(server):
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200
    assert httpx.get(f"{server.url}/nowhere", headers=headers).status_code == 404
