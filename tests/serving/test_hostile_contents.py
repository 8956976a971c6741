"""Requests that are small and would cost much: odd videos, endless texts, schemas that explode."""

import io
import json
import threading
import time
import tracemalloc
from fractions import Fraction

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from running_server import ask_about, data_url, running, twin

from mobile_videogpt.serving import json_guides
from mobile_videogpt.serving.errors import ApiError
from mobile_videogpt.serving.settings import ServerSettings
from mobile_videogpt.serving.uploads import Uploads
from mobile_videogpt.video.transforms import image_pixels, video_pixels

QUESTION = "What happens?"


def post(server, body, timeout=120):
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=timeout)


def about(data, kind="video/mp4", **options):
    content = [
        {"type": "video_url", "video_url": {"url": data_url(data, kind)}},
        {"type": "text", "text": QUESTION},
    ]
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 4, **options}


def film(width=16, height=16, frames=4, rate=8, codec="mpeg4"):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        container.start_encoding()
        for number in range(frames):
            picture = np.full((height, width, 3), 40 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def picture(width, height, form="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (picture(1, 1, "GIF"), "image/gif"),
        (picture(1, 1), "image/png"),
        (film(2, 2), "video/mp4"),
        (film(rate=Fraction(60_000)), "video/mp4"),
        (film(rate=Fraction(1, 500), frames=3), "video/mp4"),
        (picture(1, 60_000), "image/png"),
        (picture(60_000, 1), "image/png"),
        (picture(8_000_000, 1), "image/png"),
    ],
    ids=["1x1 gif", "1x1", "2x2", "60000 fps", "a frame in 500 s", "tall", "wide", "very wide"],
)
def test_odd_videos_are_looked_at_or_refused(shared_server, data, kind):
    reply = post(shared_server, about(data, kind))
    assert reply.status_code in (200, 400), reply.text
    if reply.status_code == 400:
        assert reply.json()["error"]["code"] == "invalid_video"


def test_a_video_without_frames_is_refused(shared_server):
    reply = post(shared_server, about(film(frames=0)))
    assert reply.status_code == 400 and reply.json()["error"]["code"] == "invalid_video"


def test_a_strip_is_not_scaled_up_whole(monkeypatch):
    """As a whole it would take 3 GB."""
    resized = []
    resize = Image.Image.resize

    def watched(image, size, *args, **options):
        resized.append(size)
        return resize(image, size, *args, **options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    strip = np.random.default_rng(0).integers(0, 256, (2, 40_000, 3), np.uint8)
    tracemalloc.start()
    video_pixels([strip])
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    wide = image_pixels([strip])
    tall = image_pixels([strip.transpose(1, 0, 2).copy()])
    assert wide.shape == (1, 3, 224, 224) and set(resized) == {(224, 224)}
    assert np.array_equal(wide.transpose(2, 3), tall)
    # The middle is what a strip that is short enough to be scaled whole has there, too.
    short = strip[:, 19_970:20_030]
    np.testing.assert_allclose(image_pixels([short]), wide, atol=0.05)


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "text",
    [
        nested(100_000),
        '{"messages": ' + nested(5_000) + "}",
        '{"messages": [{"role": "user", "content": ' + nested(900) + "}]}",
        '{"messages": [{"role": "user", "content": "x"}], "metadata": '
        + '{"a":' * 900
        + "1"
        + "}" * 901,
        '{"messages": [{"role": "user", "content": "x"}], "seed": ' + "9" * 10_000 + "}",
        '{"messages": [{"role": "user", "content": "x"}], "temperature": 1e999}',
        b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}',
        '{"messages": [{"role": "user", "content": "\\ud800 \\udfff what?"}]}',
        '{"messages": [{"role": "user", "content": "a\\u0000b?"}]}',
    ],
    ids="deep, messages, content, other, number, infinity, no UTF-8, halves, zero".split(", "),
)
def test_odd_json_is_answered_or_refused(shared_server, text):
    content = text if isinstance(text, bytes) else text.encode()
    reply = httpx.post(
        f"{shared_server.url}/v1/chat/completions",
        content=content,
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    assert reply.status_code in (200, 400), reply.text
    reply.json()


def test_endless_text_is_refused_before_it_is_read(shared_server, monkeypatch):
    prompts = []
    processor = shared_server.chat.processor
    encode = processor.prompt.encode_piece
    monkeypatch.setattr(
        type(processor.prompt), "encode_piece", lambda _, text: prompts.append(text) or encode(text)
    )
    body = {"messages": [{"role": "user", "content": "what happens? " * 500_000}]}
    reply = post(shared_server, body)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"
    assert not prompts


def test_a_message_of_very_many_parts_is_refused(shared_server):
    parts = [{"type": "text", "text": "a"}] * 100_000
    reply = post(shared_server, {"messages": [{"role": "user", "content": parts}]})
    assert reply.status_code == 400


def schema_bombs():
    deep = {"type": "string"}
    for _ in range(400):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    wide = {"type": "object", "properties": {f"f{n}": {"enum": ["a", "b"]} for n in range(2000)}}
    billion = {"$defs": {"l0": {"type": "string"}}, "$ref": "#/$defs/l30"}
    for n in range(1, 31):
        inner = {"$ref": f"#/$defs/l{n - 1}"}
        billion["$defs"][f"l{n}"] = {
            "type": "object",
            "properties": {"a": inner, "b": inner},
            "required": ["a", "b"],
        }
    return {
        "deep": deep,
        "wide": wide,
        "billion": billion,
        "itself": {"$ref": "#"},
        "elsewhere": {"$ref": "file:///etc/passwd"},
        "pattern": {"type": "string", "pattern": "((a{1,1000}){1,1000}){1,1000}"},
        "slow pattern": {"type": "string", "pattern": "(a+)+$"},
        "long": {"type": "string", "minLength": 10**12},
        "many": {"type": "array", "items": {"type": "string"}, "minItems": 10**9},
        "any of": {"anyOf": [{"const": f"{n}" * 20} for n in range(2000)]},
        "number": {"type": "integer", "minimum": 1, "maximum": 10**300},
        "large enum": {"enum": ["x" * 5000 + str(n) for n in range(10)]},
        "not a schema": {"type": 5, "properties": [1], "enum": {}},
    }


@pytest.mark.parametrize("kind", sorted(schema_bombs()))
def test_schemas_that_explode_do_not(shared_server, kind):
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema_bombs()[kind]}}
    body = {"messages": [{"role": "user", "content": "what?"}], "response_format": form}
    reply = post(shared_server, {**body, "max_tokens": 4}, timeout=30)
    assert reply.status_code == 400, reply.text


def test_schemas_that_take_for_ever_are_given_up(monkeypatch):
    """Their compiler would hold the whole server up, if it were not a process of its own."""
    pytest.importorskip("llguidance")
    monkeypatch.setattr(json_guides, "_COMPILE_S", 3.0)
    guides = json_guides.JsonGuides(tokenizer=None, vocabulary=0)
    guides._prepared = "a tokenizer that can spell JSON"
    assert "lark" in guides.grammar({"type": "object"}) or guides.grammar({"type": "string"})
    with pytest.raises(ApiError, match="regex"):
        guides.grammar({"type": "string", "pattern": "("})
    with pytest.raises(ApiError, match="not present"):
        guides.grammar({"$ref": "file:///etc/passwd"})
    endless = {"allOf": [{"type": "string", "pattern": f".*{n}.*"} for n in range(25)]}
    with pytest.raises(ApiError, match="too long"):
        guides.grammar(endless)


def test_a_guide_whose_steps_take_too_long_is_refused(monkeypatch):
    pytest.importorskip("llguidance")
    monkeypatch.setattr(json_guides, "_PREPARE_S", -1.0)
    monkeypatch.setattr(json_guides.JsonGuide, "prepare", lambda _: None)
    monkeypatch.setattr("llguidance.LLMatcher", lambda *_: None)
    with pytest.raises(ApiError, match="too long"):
        json_guides.JsonGuides(tokenizer=None, vocabulary=8).guide("")


@pytest.mark.parametrize(
    "choices", [["a" * 5000], ["a"] * 3, ["\ud800", "b"], [" "], [f"{n}" for n in range(300)]]
)
def test_choices_that_cost_much_are_refused(shared_server, choices):
    form = {"type": "choice", "choices": choices}
    text = json.dumps({"messages": [{"role": "user", "content": "what?"}], "response_format": form})
    headers = {"Content-Type": "application/json"}
    url = f"{shared_server.url}/v1/chat/completions"
    reply = httpx.post(url, content=text, headers=headers, timeout=60)
    assert reply.status_code == (200 if choices[0] == "\ud800" else 400), reply.text


@pytest.mark.parametrize("stop", ["a" * 5000, ["a"] * 17, ["", "b"]])
def test_stop_strings_are_few_and_short(shared_server, stop):
    body = {"messages": [{"role": "user", "content": "what?"}], "stop": stop}
    assert post(shared_server, body).status_code == 400


def uploads(**settings):
    return Uploads(ServerSettings(**settings))


def test_a_good_video_beside_a_broken_one_is_not_kept(miniature, clip_bytes):
    with running(twin(miniature)) as server:
        urls = [data_url(clip_bytes(1)), data_url(clip_bytes(2)[:2000])]
        content = [{"type": "video_url", "video_url": {"url": url}} for url in urls]
        content.append({"type": "text", "text": QUESTION})
        reply = post(server, {"messages": [{"role": "user", "content": content}]})
        assert reply.status_code == 400
        assert len(server.service.library) == 0


def test_an_upload_that_is_known_is_not_read_again(miniature, clip_bytes, monkeypatch):
    with running(twin(miniature)) as server:
        uploads, read = server.service.uploads, []
        whole = uploads.read
        monkeypatch.setattr(uploads, "read", lambda *args: read.append(1) or whole(*args))
        file = {"file": ("clip.mp4", clip_bytes(1))}
        sent = httpx.post(f"{server.url}/v1/files", files=file).json()
        part = {"type": "file", "file": {"file_id": sent["id"]}}
        content = [part, {"type": "text", "text": QUESTION}]
        body = {"messages": [{"role": "user", "content": content}]}
        answers = [post(server, body).json() for _ in range(3)]
        answers.append(post(server, {**about(clip_bytes(1)), "max_tokens": 128}).json())
        assert len({answer["choices"][0]["message"]["content"] for answer in answers}) == 1
        assert len(read) == 1 and server.service.library.misses == 1


def test_who_fills_the_folder_loses_files_and_nobody_else():
    kept = uploads(max_upload_bytes=1000)
    old = kept.add(io.BytesIO(b"x" * 100), "old", 100, "modest")
    for number in range(20):
        kept.add(io.BytesIO(b"x" * 300), f"{number}", 300, "greedy")
    assert kept.read(old.id, "modest") == b"x" * 100
    assert [upload.name for upload in kept.of("greedy")] == ["17", "18", "19"]
    kept.close()


def test_very_many_small_files_are_too_many(monkeypatch):
    monkeypatch.setattr("mobile_videogpt.serving.uploads._MOST_FILES", 10)
    kept = uploads()
    for number in range(30):
        kept.add(io.BytesIO(b"x"), f"{number}", 1, "greedy")
    assert len(kept.of("greedy")) == 10
    assert len(list(kept._folder.iterdir())) == 10
    kept.close()


def test_files_that_come_at_once_leave_no_more_than_is_kept():
    kept = uploads(max_upload_bytes=1000)
    threads = [
        threading.Thread(target=kept.add, args=(io.BytesIO(b"x" * 200), f"{n}", 200, f"{n % 3}"))
        for n in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {upload.id for owner in "012" for upload in kept.of(owner)}
    assert {path.name for path in kept._folder.iterdir()} == names and len(names) == 5
    kept.close()


def test_a_full_disk_is_told_and_leaves_nothing(monkeypatch):
    kept = uploads()

    def full(source, target):
        target.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mobile_videogpt.serving.uploads.shutil.copyfileobj", full)
    with pytest.raises(ApiError) as caught:
        kept.add(io.BytesIO(b"x" * 10), "a", 10, "me")
    assert caught.value.status == 507
    assert kept.of("me") == [] and not list(kept._folder.iterdir())
    kept.close()


def test_no_key_takes_all_of_the_room(lively_chat, clip_bytes):
    keys = frozenset({"a", "b"})
    with running(twin(lively_chat), api_keys=keys, max_requests=4) as server:

        def ask(key):
            body = {"messages": ask_about(clip_bytes(1), QUESTION), "max_tokens": 5000}
            headers = {"Authorization": f"Bearer {key}"}
            request = client.build_request(
                "POST", f"{server.url}/v1/chat/completions", json={**body, "stream": True}
            )
            request.headers.update(headers)
            return client.send(request, stream=True)

        batch = server.service.scheduler._answers.batch
        step = batch.step
        batch.step = lambda: time.sleep(0.02) or step()  # nobody ends before all have asked
        with httpx.Client(timeout=60) as client:
            replies = [ask("a") for _ in range(4)] + [ask("b"), ask("b")]
            assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 200, 429]
            for reply in replies:
                reply.close()
