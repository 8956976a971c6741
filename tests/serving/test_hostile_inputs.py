"""A part of the hostile corpus (benchmarks/serving_hostile.py sends all of it and is recorded)."""

import sys
from collections import OrderedDict
from pathlib import Path

import httpx
import pytest
from running_server import running, twin

from mobile_videogpt.serving.settings import DecodingLimits

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def corpus():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import hostile_inputs
    finally:
        sys.path.remove(str(BENCHMARKS))
    return hostile_inputs


def some_of_each(corpus, most_bytes, per_kind=3):
    """A few of every kind, the small ones."""
    kinds = OrderedDict()
    for item in corpus.hostile_inputs(seed=1):
        chosen = kinds.setdefault(item.kind.split(":")[0], [])
        if len(chosen) < per_kind and len(item.body) < most_bytes:
            chosen.append(item)
    return [item for chosen in kinds.values() for item in chosen]


def test_the_corpus_is_large_and_the_same_every_time(corpus):
    first = [(item.kind, item.path, item.body) for item in corpus.hostile_inputs()]
    assert len(first) > 500
    assert first == [(item.kind, item.path, item.body) for item in corpus.hostile_inputs()]


def test_nothing_hostile_is_answered_with_500(miniature, corpus):
    limits = DecodingLimits(time_s=30.0)
    with running(twin(miniature), limits=limits) as server:

        def send(item):
            return httpx.post(
                f"{server.url}{item.path}", content=item.body, headers=item.headers, timeout=120
            )

        good = corpus.good_request()
        expected = send(good).json()["choices"][0]["message"]["content"]
        items = some_of_each(corpus, most_bytes=300_000)
        assert len(items) > 40
        for item in items:
            reply = send(item)
            assert reply.status_code < 500, (item.kind, reply.text)
            if reply.status_code != 200:
                assert reply.json()["error"]["message"], item.kind
        assert send(good).json()["choices"][0]["message"]["content"] == expected
