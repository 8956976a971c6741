"""The peer `llama.cpp`: the same language model, written as GGUF once and timed."""

import json
import os
import shutil

import pytest

from mobile_videogpt.benchmark.contestant import NotOfferedError, make_contestant
from mobile_videogpt.benchmark.peers import llama_cpp as peer
from mobile_videogpt.benchmark.settings import Settings
from mobile_videogpt.checkpoints.hub import find_checkpoint


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILE_VIDEOGPT_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_built_in_model_is_timed(cache):
    pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp")
    contestant = make_contestant(Settings(kind="llama.cpp", new_tokens=4, threads=1))
    facts = contestant.load()
    # 16 frames of 4 tokens, 8 key-frames of 9.
    assert facts["visual_tokens"] == 136 and facts["prompt_tokens"] == 162
    assert facts["threads"] == 1 and 400_000 < facts["file_bytes"] < 600_000
    contestant.warm_up()
    found = contestant.run()
    assert found["prefill_tokens"] == 162
    assert found["prefill_s"] > 0 and found["decode_tok_s"] > 0
    assert contestant.model.length == 162 + 3  # the last token is not read
    json.dumps([facts, found])


def test_the_file_is_written_once_and_again_when_the_checkpoint_changes(cache, tmp_path):
    pytest.importorskip("gguf")
    source = shutil.copytree(find_checkpoint("moving-shapes"), tmp_path / "model")
    first = peer.gguf_file(source)
    written = first.stat().st_mtime_ns
    assert peer.gguf_file(source) == first and first.stat().st_mtime_ns == written
    os.utime(source / "model.safetensors", ns=(1, 1))
    assert peer.gguf_file(source) != first
    assert sorted(path.suffix for path in cache.iterdir()) == [".gguf", ".gguf"]


def test_a_checkpoint_that_cannot_be_written_says_why(cache, tmp_path):
    pytest.importorskip("gguf")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RuntimeError, match=r"could not be written as GGUF: .*must be a Mobile"):
        peer.gguf_file(tmp_path)


def test_a_missing_package_means_it_is_not_offered(monkeypatch):
    monkeypatch.setattr(peer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotOfferedError, match="gguf is not installed"):
        make_contestant(Settings(kind="llama.cpp")).load()
