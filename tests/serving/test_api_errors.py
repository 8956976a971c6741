"""What is wrong with a request is said in OpenAI's form, in one sentence, and costs nothing."""

import json

import httpx
import openai
import pytest
from running_server import NAME, ask_about, data_url


@pytest.fixture(scope="module")
def http(shared_server):
    with httpx.Client(base_url=shared_server.url, timeout=60) as client:
        yield client


def text(question="What happens?", **message):
    return [{"role": "user", "content": question, **message}]


def video(url, **more):
    parts = [{"type": "video_url", "video_url": {"url": url, **more}}]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What happens?"}]}]


CASES = {
    "no messages": ({"messages": []}, 400, "messages"),
    "missing messages": ({}, 400, "messages"),
    "messages of another type": ({"messages": "hello"}, 400, "messages"),
    "unknown role": ({"messages": [{"role": "robot", "content": "x"}]}, 400, "messages[0].role"),
    "no question": ({"messages": text("  ")}, 400, "messages"),
    "the model speaks last": (
        {"messages": [*text(), {"role": "assistant", "content": "a"}]},
        400,
        "messages",
    ),
    "another model": ({"messages": text(), "model": "gpt-4o"}, 404, "model"),
    "too hot": ({"messages": text(), "temperature": 3}, 400, "temperature"),
    "number as text": ({"messages": text(), "temperature": "1"}, 400, "temperature"),
    "no tokens": ({"messages": text(), "max_tokens": 0}, 400, "max_tokens"),
    "empty stop": ({"messages": text(), "stop": ""}, None, None),
    "empty stop in a list": ({"messages": text(), "stop": ["a", ""]}, 400, "stop"),
    "too many answers": ({"messages": text(), "n": 9}, 400, "n"),
    "tools": ({"messages": text(), "tools": [{"type": "function"}]}, 400, "tools"),
    "probabilities": ({"messages": text(), "logprobs": True}, 400, "logprobs"),
    "a path": ({"messages": video("/etc/passwd")}, 400, "messages[0].content[0]"),
    "a file address": ({"messages": video("file:///etc/passwd")}, 400, "messages[0].content[0]"),
    "an address": ({"messages": video("http://127.0.0.1/x.mp4")}, 400, "messages[0].content[0]"),
    "no base64": ({"messages": video("data:video/mp4;base64,???")}, 400, "messages[0].content[0]"),
    "empty data": ({"messages": video("data:video/mp4;base64,")}, 400, "messages[0].content[0]"),
    "no comma": ({"messages": video("data:video/mp4")}, 400, "messages[0].content[0]"),
    "no video": (
        {"messages": video(data_url(b"this is no video at all"))},
        400,
        "messages[0].content[0]",
    ),
    "unknown upload": ({"messages": video("file-0000")}, 404, None),
    "too many frames": (
        {"messages": video("data:,x", num_frames=17)},
        400,
        "num_frames",
    ),
    "no rate": ({"messages": text(), "fps": 0}, 400, "fps"),
    "placeholder": ({"messages": text("<|video_pad|> what?")}, 400, "messages"),
    "unknown part": (
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        400,
        "messages[0].content[0]",
    ),
    "an address that is no text": (
        {"messages": video(7)},
        400,
        "messages[0].content[0].video_url.url",
    ),
    "an unknown format": (
        {"messages": text(), "response_format": {"type": "yaml"}},
        400,
        "response_format",
    ),
    "five videos": (
        {"messages": [{"role": "user", "content": [video("data:,x")[0]["content"][0]] * 5}]},
        400,
        None,
    ),
    "no choices": (
        {"messages": text(), "response_format": {"type": "choice", "choices": []}},
        400,
        None,
    ),
    "free JSON": (
        {"messages": text(), "response_format": {"type": "json_object"}},
        400,
        "response_format",
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_wrong_is_said(http, case):
    body, status, param = CASES[case]
    reply = http.post("/v1/chat/completions", json=body)
    if status is None:
        status = reply.status_code
        assert status in (200, 400)
        return
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"] and "Traceback" not in reply.text
    if param is not None:
        assert error["param"] == param


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1, 2",
        b"nonsense",
        b"\xff\xfe",
        b'{"messages": NaN}',
        b"[" * 100_000,
        b'{"messages":' * 50_000,
        b'{"seed": ' + b"9" * 5000 + b"}",
        b"null",
        b"42",
        b'"text"',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_json_is_refused(http, body):
    headers = {"Content-Type": "application/json"}
    reply = http.post("/v1/chat/completions", content=body, headers=headers)
    assert reply.status_code == 400 and reply.json()["error"]["message"]


def test_half_characters_do_no_harm(http):
    body = json.dumps({"messages": [{"role": "user", "content": "what \ud800 happens?"}]})
    headers = {"Content-Type": "application/json"}
    reply = http.post("/v1/chat/completions", content=body, headers=headers)
    assert reply.status_code == 200
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], "model": "\ud800"})
    reply = http.post("/v1/chat/completions", content=body, headers=headers)
    assert reply.status_code == 404 and reply.json()["error"]["code"] == "model_not_found"


def test_another_content_type_is_refused(http):
    headers = {"Content-Type": "text/plain"}
    body = json.dumps({"messages": text()})
    assert http.post("/v1/chat/completions", content=body, headers=headers).status_code == 415
    assert http.post("/v1/files", content=body, headers=headers).status_code == 415


def test_unknown_addresses_and_methods(http):
    for reply, status in (
        (http.get("/v1/nothing"), 404),
        (http.get("/v1/chat/completions"), 405),
        (http.delete("/v1/models"), 405),
        (http.get("/v1/files/file-1"), 404),
    ):
        assert reply.status_code == status and reply.json()["error"]["message"]
    assert http.put("/v1/files/file-1").headers["allow"] == "DELETE, GET"


def test_a_prompt_longer_than_the_model_reads(http):
    reply = http.post("/v1/chat/completions", json={"messages": text("red " * 3000)})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"


def test_an_answer_ends_where_the_model_can_read_no_more(http):
    body = {"messages": text("red " * 2000), "max_tokens": 100_000}
    reply = http.post("/v1/chat/completions", json=body).json()
    assert reply["usage"]["total_tokens"] <= 2048


def test_the_client_gets_typed_errors(shared_server, clip_bytes):
    client = openai.OpenAI(base_url=f"{shared_server.url}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=NAME, messages=ask_about(b"no video", "What?"), stream=True
        )
    assert caught.value.code == "invalid_video"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="x", messages=ask_about(clip_bytes(1), "What?"))


def test_health_metrics_and_documentation(http):
    health = http.get("/healthz").json()
    assert health["status"] == "ok" and health["model"] == NAME
    metrics = http.get("/metrics").text
    assert "mobile_videogpt_generated_tokens_total" in metrics
    assert 'mobile_videogpt_requests_total{path="/healthz",status="200"}' in metrics
    document = http.get("/openapi.json").json()
    assert "ChatRequest" in document["components"]["schemas"]
    assert document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["required"]
    assert http.get("/docs").status_code == 200
