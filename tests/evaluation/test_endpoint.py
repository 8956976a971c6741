"""The client of chat-completions servers, against one on this machine that misbehaves on demand."""

import json
import threading
import time

import pytest
from fake_endpoint import completion, in_turn, serve

from mobile_videogpt.evaluation.endpoint import Endpoint, EndpointError

BODY = {"messages": [{"role": "user", "content": "Yes or no?"}], "temperature": 0}


def endpoint(server, **settings):
    return Endpoint(server.url, "judge-1", **{"wait_s": 0.01, **settings})


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_the_request_names_the_model_and_carries_the_key_of_the_named_variable(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret\n")
    with serve(in_turn("  yes ")) as server:
        assert endpoint(server, key_variable="MY_KEY").complete(BODY) == "yes"
    assert server.requests == [{"model": "judge-1", **BODY}]
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert server.paths == ["/v1/chat/completions"]


def test_no_key_no_header_and_the_full_address_is_understood_too():
    with serve(in_turn("yes")) as server:
        Endpoint(f"{server.url}/chat/completions/", "m").complete({**BODY, "model": "other"})
    assert "Authorization" not in server.headers[0]
    assert (server.paths, server.requests[0]["model"]) == (["/v1/chat/completions"], "other")


@pytest.mark.parametrize(
    "failure",
    [
        (500, {"error": "broken"}),
        (429, {"error": "slow down"}, {"Retry-After": "0.01"}),
        (200, b"<html>not JSON</html>"),
        (200, {"choices": []}),
        (200, completion("")),
        (200, completion(None)),
        (200, b'{"choices": [{"message"'),
    ],
)
def test_what_may_pass_is_tried_again(failure):
    with serve(in_turn(failure, failure, "yes")) as server:
        assert endpoint(server).complete(BODY) == "yes"
    assert len(server.requests) == 3


def test_after_the_last_try_the_error_says_what_the_server_did():
    given_up = pytest.raises(EndpointError, match=r"in 3 tries.*503.*overloaded")
    with serve(in_turn((503, {"error": "overloaded"}))) as server, given_up:
        endpoint(server, tries=3).complete(BODY)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 301])
def test_a_refusal_is_final(status):
    reply = (status, {"error": "no"}, {"Location": "http://127.0.0.1:1/"})
    refused = pytest.raises(EndpointError, match=f"status {status}")
    with serve(in_turn(reply)) as server, refused as raised:
        endpoint(server).complete(BODY)
    assert len(server.requests) == 1
    assert ("OPENAI_API_KEY" in str(raised.value)) == (status == 401)


def test_waits_double_and_a_server_may_ask_for_another_time(monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr("random.random", lambda: 0.0)
    replies = [(500, {}), (500, {}), (429, {}, {"Retry-After": "7"}), (429, {}, {}), "yes"]
    with serve(in_turn(*replies)) as server:
        assert endpoint(server, wait_s=5.0).complete(BODY) == "yes"
    assert [pause for pause in pauses if pause >= 1] == [5.0, 10.0, 7.0, 40.0]


def test_nobody_there_is_one_sentence():
    with pytest.raises(EndpointError, match=r"no connection.*"):
        Endpoint("http://127.0.0.1:9/v1", "m", tries=1).complete(BODY)


def test_a_hanging_server_is_given_up():
    release = threading.Event()
    with serve(lambda body: release.wait(5) and "late") as server:
        with pytest.raises(EndpointError, match="no connection"):
            endpoint(server, tries=1, timeout_s=0.1).complete(BODY)
        release.set()


def test_replies_outlive_the_process_and_differ_by_model_and_request(tmp_path):
    with serve(in_turn("first", "second", "third")) as server:
        assert endpoint(server, cache_dir=tmp_path).complete(BODY) == "first"
        assert endpoint(server, cache_dir=tmp_path).complete(BODY) == "first"
        assert endpoint(server, cache_dir=tmp_path).complete({**BODY, "seed": 1}) == "second"
        assert Endpoint(server.url, "judge-2", cache_dir=tmp_path).complete(BODY) == "third"
    kept = [json.loads(path.read_text()) for path in tmp_path.rglob("*.json")]
    assert {document["reply"] for document in kept} == {"first", "second", "third"}
    assert all("key" not in document for document in kept)


def test_a_torn_cache_file_and_an_unacceptable_reply_are_asked_for_again(tmp_path):
    with serve(in_turn("maybe", "yes", "no")) as server:
        judge = endpoint(server, cache_dir=tmp_path)
        assert judge.complete(BODY, accept=lambda text: text != "maybe") == "yes"
        (kept,) = tmp_path.rglob("*.json")
        kept.write_text('{"reply": "y')
        assert judge.complete(BODY) == "no"


def test_pictures_are_not_kept_beside_the_reply(tmp_path):
    large = {"messages": [{"role": "user", "content": "x" * 30_000}]}
    with serve(in_turn("yes")) as server:
        endpoint(server, cache_dir=tmp_path).complete(large)
    (kept,) = tmp_path.rglob("*.json")
    assert kept.stat().st_size < 1000


def test_many_requests_run_at_once_but_never_more_than_allowed():
    three = threading.Barrier(3)

    def answer(body):
        if body["number"] < 3:
            three.wait(60)  # all of them are there at once, or none gets a reply
        return (400, {}) if body["number"] == 5 else f"reply {body['number']}"

    with serve(answer) as server:
        results = dict(
            endpoint(server, concurrency=3).complete_each({"number": n} for n in range(12))
        )
    assert server.most_at_once == 3
    assert isinstance(results.pop(5), EndpointError)
    assert results == {n: f"reply {n}" for n in range(12) if n != 5}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "localhost:8000"}, "localhost:8000.*http://"),
        ({"base_url": "file:///etc/passwd"}, "http://"),
        ({"concurrency": 0}, "at least 1"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Endpoint(**{"base_url": "http://x/v1", "model": "m", **settings})
