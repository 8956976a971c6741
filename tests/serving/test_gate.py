"""Who may ask, how much and how often, before anything of a request is read."""

import json
import socket
import time

import httpx
import pytest
from running_server import NAME, running, twin

from mobile_videogpt.serving.api.gate import RateLimit
from mobile_videogpt.serving.settings import ServerSettings

BODY = {"messages": [{"role": "user", "content": "what is a circle?"}], "max_tokens": 4}
KEYS = frozenset({"first-key", "second-key"})


@pytest.fixture(scope="module")
def guarded(miniature):
    with running(twin(miniature), api_keys=KEYS, max_body_bytes=200_000) as server:
        yield server


def post(server, key=None, body=None, **options):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    headers |= options.pop("headers", {})
    url = f"{server.url}/v1/chat/completions"
    return httpx.post(url, json=body or BODY, headers=headers, timeout=60, **options)


@pytest.mark.parametrize("key", [None, "wrong", "first-key2", "first-ke", "\u00e9"])
def test_a_wrong_key_is_refused(guarded, key):
    header = {"Authorization": f"Bearer {key}".encode()} if key is not None else {}
    reply = httpx.post(f"{guarded.url}/v1/chat/completions", json=BODY, headers=header)
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"
    assert reply.headers["www-authenticate"] == "Bearer"


def test_a_right_key_is_let_in_everywhere(guarded):
    assert post(guarded, "first-key").status_code == 200
    for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/files"):
        assert httpx.get(f"{guarded.url}{path}").status_code == 401
        headers = {"Authorization": "Bearer second-key"}
        assert httpx.get(f"{guarded.url}{path}", headers=headers).status_code == 200
    assert httpx.get(f"{guarded.url}/healthz").status_code == 200


def test_uploads_belong_to_their_key(guarded):
    def files(key, method="GET", path="", **options):
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.request(method, f"{guarded.url}/v1/files{path}", headers=headers, **options)

    sent = files("first-key", "POST", files={"file": ("../../a\x01b.mp4", b"x" * 10)}).json()
    assert sent["bytes"] == 10 and "/" not in sent["filename"] and "\x01" not in sent["filename"]
    assert [file["id"] for file in files("first-key").json()["data"]] == [sent["id"]]
    assert files("second-key").json()["data"] == []
    for method in ("GET", "DELETE"):
        assert files("second-key", method, f"/{sent['id']}").status_code == 404
    content = [
        {"type": "file", "file": {"file_id": sent["id"]}},
        {"type": "text", "text": "what?"},
    ]
    body = {"messages": [{"role": "user", "content": content}]}
    assert post(guarded, "second-key", body).status_code == 404
    assert post(guarded, "first-key", body).json()["error"]["code"] == "invalid_video"


def test_an_upload_without_a_file_is_refused(guarded):
    headers = {"Authorization": "Bearer first-key"}
    for form in ({"files": {"other": ("a", b"x")}}, {"files": {"file": ("a", b"")}}):
        reply = httpx.post(f"{guarded.url}/v1/files", headers=headers, **form)
        assert reply.status_code == 400, reply.text
    headers["Content-Type"] = "multipart/form-data; boundary=x"
    reply = httpx.post(f"{guarded.url}/v1/files", headers=headers, content=b"nonsense")
    assert reply.status_code == 400


def test_a_body_that_is_too_large_is_refused_by_its_header(guarded):
    body = {"messages": [{"role": "user", "content": "x" * 300_000}]}
    reply = post(guarded, "first-key", body)
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "request_too_large"


def test_a_body_that_does_not_say_its_size_is_refused_as_it_comes(guarded):
    def pieces():
        for _ in range(40):
            yield b"x" * 10_000

    headers = {"Authorization": "Bearer first-key", "Content-Type": "application/json"}
    reply = httpx.post(
        f"{guarded.url}/v1/chat/completions", content=pieces(), headers=headers, timeout=30
    )
    assert reply.status_code == 413


def test_the_gate_counts_itself_empty_again(guarded):
    gate = guarded.server.config.loaded_app
    while not hasattr(gate, "completions"):
        gate = getattr(gate, "app", None) or gate.middleware_stack.app
    end = time.monotonic() + 10
    while (gate.completions or gate._pending_bytes) and time.monotonic() < end:
        time.sleep(0.01)  # a client may read its response before the server is done with it
    assert gate.completions == 0 and gate._pending_bytes == 0


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("", 403),
    ],
)
def test_only_names_of_this_machine_are_answered(shared_server, host, status):
    reply = httpx.get(f"{shared_server.url}/v1/models", headers={"Host": host})
    assert reply.status_code == status


def test_too_many_requests_are_told_when_to_come_back(miniature):
    with running(twin(miniature), requests_per_minute=3) as server:
        assert [post(server).status_code for _ in range(3)] == [200] * 3
        reply = post(server)
        assert reply.status_code == 429
        assert 1 <= int(reply.headers["retry-after"]) <= 20
        assert reply.json()["error"]["code"] == "rate_limited"
        assert httpx.get(f"{server.url}/v1/models").status_code == 200  # reading is free


def test_the_rate_limit_is_each_clients_own(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limit = RateLimit(2)
    assert [limit.take("a"), limit.take("a")] == [0.0, 0.0]
    assert limit.take("a") == pytest.approx(30.0)
    assert limit.take("b") == 0.0
    now[0] += 30
    assert limit.take("a") == 0.0
    assert limit.take("a") > 0
    assert not any(RateLimit(0).take("c") for _ in range(100))


def test_a_body_that_does_not_come_is_given_up(miniature, monkeypatch):
    monkeypatch.setattr("mobile_videogpt.serving.api.gate._BODY_S", 0.5)
    with running(twin(miniature)) as server:
        port = int(server.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
            )
            reply = connection.recv(65536)
        assert b" 408 " in reply.split(b"\r\n")[0]


def test_all_bodies_together_are_bounded(miniature):
    with running(twin(miniature), max_pending_bytes=2_000) as server:
        big = {**BODY, "user": "x" * 5_000}
        reply = post(server, body=big)
        assert reply.status_code == 429 and reply.json()["error"]["code"] == "overloaded"
        assert post(server).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_other_machines_need_keys(host):
    with pytest.raises(ValueError, match="API keys"):
        ServerSettings(host=host)
    assert ServerSettings(host=host, api_keys=frozenset({"k"})).host == host
    assert ServerSettings(host=host, allow_anonymous=True).host == host


def test_a_key_is_not_shown(guarded):
    reply = httpx.get(f"{guarded.url}/healthz").text + json.dumps(NAME)
    metrics = httpx.get(f"{guarded.url}/metrics", headers={"Authorization": "Bearer first-key"})
    assert "first-key" not in reply + metrics.text
