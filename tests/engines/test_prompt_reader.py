"""Long prompts read in bfloat16, beside torch in float32 and the exported graph."""

import numpy as np
import pytest
import torch

pytest.importorskip("numba")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mobile_videogpt.engines.onnx import language_session, prompt_reader
from mobile_videogpt.engines.onnx.language_session import LanguageSession
from mobile_videogpt.engines.onnx.prompt_reader import PromptReader, open_prompt_reader


@pytest.fixture
def reader(int4_folder, monkeypatch):
    """That of the built-in model, on any processor: PyTorch multiplies bfloat16 on all, slowly."""
    monkeypatch.setattr(prompt_reader, "WORTHWHILE_BYTES", 0)
    monkeypatch.setattr(prompt_reader, "has_bfloat16_units", lambda: True)
    monkeypatch.setattr(prompt_reader, "ROWS_AT_ONCE", 10)
    found = open_prompt_reader(int4_folder / "prefill.onnx")
    assert isinstance(found, PromptReader)
    return found


@pytest.fixture(scope="module")
def graph(int4_folder):
    return LanguageSession(int4_folder, as_loops=False)


def prompt(graph, length):
    token_ids = np.random.default_rng(length).integers(6, 180, length).tolist()
    return token_ids, graph.embed(token_ids), np.arange(length)


def expected_rows(torch_chat, token_ids):
    """torch's keys and values, (tensors, 1, heads, L, width)."""
    with torch.inference_mode():
        output = torch_chat.model.language_model(torch.tensor([token_ids]), use_cache=True)
    layers = output.past_key_values.layers
    return torch.stack([t for layer in layers for t in (layer.keys, layer.values)]).numpy()


def error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("length", [1, 9, 57])
def test_it_is_closer_to_torch_than_the_graph(torch_chat, graph, reader, threads, length):
    token_ids, embeds, positions = prompt(graph, length)
    expected = expected_rows(torch_chat, token_ids)
    ours, theirs = graph.new_cache(length), graph.new_cache(length)
    reader.read(ours, embeds, positions)
    graph.fill(theirs, embeds, positions)
    assert ours.length == theirs.length == length
    found = error(ours.values[:, :, :, :length], expected)
    assert found < 0.03
    assert found < 1.2 * error(theirs.values[:, :, :, :length], expected)


def test_it_goes_on_after_what_the_cache_holds(graph, reader):
    _, embeds, positions = prompt(graph, 60)
    whole, parts = graph.new_cache(60), graph.new_cache(60)
    reader.read(whole, embeds, positions)
    for some in (slice(0, 23), slice(23, 24), slice(24, 60)):
        reader.read(parts, embeds[some], positions[some])
    assert parts.length == 60
    assert error(parts.values[:, :, :, :60], whole.values[:, :, :, :60]) < 0.01


def test_positions_may_have_gaps(graph, reader):
    _, embeds, _ = prompt(graph, 40)
    positions = np.sort(np.random.default_rng(0).permutation(90)[:40])
    ours, theirs = graph.new_cache(40), graph.new_cache(40)
    reader.read(ours, embeds, positions)
    graph.fill(theirs, embeds, positions)
    assert error(ours.values[:, :, :, :40], theirs.values[:, :, :, :40]) < 0.05


def test_it_pauses_between_layers(graph, reader):
    _, embeds, positions = prompt(graph, 30)
    without, paused, pauses = graph.new_cache(30), graph.new_cache(30), []
    reader.read(without, embeds, positions)
    reader.read(paused, embeds, positions, pause=lambda: pauses.append(paused.length))
    assert pauses == [0]  # four layers, two at a time; the rows count when all are there
    assert (paused.values[:, :, :, :30] == without.values[:, :, :, :30]).all()


def test_a_session_reads_long_prompts_with_it(int4_folder, reader, monkeypatch):
    monkeypatch.setattr(language_session, "FEWEST_TOKENS", 20)
    session = LanguageSession(int4_folder)
    assert session.prompt_format == "bfloat16"
    read = []
    monkeypatch.setattr(
        PromptReader, "read", lambda self, cache, embeds, *_: read.append(len(embeds))
    )
    monkeypatch.setattr(session, "_fill_some", lambda cache, embeds, _: read.append(-len(embeds)))
    for length in (19, 20, 33):
        _, embeds, positions = prompt(session, length)
        session.fill(session.new_cache(length), embeds, positions)
    assert read == [-19, 20, 33]


def test_it_is_left_out_where_it_does_not_apply(int4_folder, torch_chat, tmp_path, monkeypatch):
    path = int4_folder / "prefill.onnx"
    monkeypatch.setattr(prompt_reader, "has_bfloat16_units", lambda: True)
    assert open_prompt_reader(path) is None  # so small a model does not need it
    monkeypatch.setattr(prompt_reader, "WORTHWHILE_BYTES", 0)
    assert open_prompt_reader(tmp_path / "prefill.onnx") is None
    monkeypatch.setattr(prompt_reader, "has_bfloat16_units", lambda: False)
    assert open_prompt_reader(path) is None
