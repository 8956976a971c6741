"""The language model as compiled loops, beside plain arithmetic, the graph and torch."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("numba")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mobile_videogpt.engines.loops.attention import gather_rows, score_rows
from mobile_videogpt.engines.loops.int4 import BLOCK, BYTES, instructions, multiply, round_row
from mobile_videogpt.engines.onnx import language_loops
from mobile_videogpt.engines.onnx.export import ExportFormats, export_model
from mobile_videogpt.engines.onnx.language_loops import LanguageLoops, open_loops
from mobile_videogpt.engines.onnx.language_session import LanguageSession
from mobile_videogpt.engines.onnx.stored_graph import Matrix
from mobile_videogpt.engines.onnx.weights import to_int4
from mobile_videogpt.models.compiled_loops import compiled

pytestmark = pytest.mark.skipif(
    instructions() is None, reason="this processor has none of the instructions"
)
OLDER = "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+sse4.2"


def unpacked(packed, scales, block):
    """(outputs, inputs) float64 of what `to_int4` made."""
    values = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
    return (values.astype(np.float64) - 8) * np.repeat(scales.reshape(len(packed), -1), block, 1)


def rounded(x):
    """What a row rounded to 8 bits, 32 numbers to a scale, stands for."""
    blocks = x.astype(np.float64).reshape(-1, BLOCK)
    scales = np.abs(blocks).max(1, keepdims=True) / 127
    return (np.rint(blocks / np.where(scales == 0, 1, scales)) * scales).reshape(-1)


def product_error(width, outputs, block, rows=1):
    """The largest error of `multiply`, as a share of the largest output."""
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(outputs, width, generator=generator)
    x = torch.randn(rows, width, generator=generator).numpy() * 3
    x[:, :BLOCK] = 0
    packed, scales = to_int4(weight, block)
    matrix = Matrix(packed, scales, None, width)
    room = language_loops._rounded_rows(rows, width)
    out = np.zeros((rows, outputs), np.float32)
    for row in range(rows):
        round_row(x[row], room, row, 0, width // BLOCK)
    per_vector = (0,) * (2 * BYTES // block)
    multiply(np.array(language_loops._address(matrix)), room, out, 0, outputs, per_vector)
    expected = np.stack([unpacked(packed, scales, block) @ rounded(row) for row in x])
    return np.abs(out - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("block", [32, 64, 128])
@pytest.mark.parametrize("rows", [1, 4, 11])
def test_a_product_is_that_of_what_the_bits_stand_for(block, rows):
    assert product_error(384, 6, block, rows) < 1e-5


@pytest.mark.parametrize("features", [OLDER, f"{OLDER},+avxvnni"])
def test_it_is_the_same_for_other_processors(features, tmp_path):
    """In a process of its own, because numba compiles for one processor."""
    if instructions() == "avx2" and "avxvnni" in features:
        pytest.skip("this processor has no AVX-VNNI")
    code = (
        "import test_language_loops as t; print(t.instructions(), t.product_error(384, 6, 32, 5))"
    )
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "alderlake" if "avxvnni" in features else "haswell",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    name, error = done.stdout.split()
    assert name == ("avxvnni" if "avxvnni" in features else "avx2")
    assert float(error) < 1e-5


@compiled(cache=False)
def _both(queries, keys, values, first, last, scores, out, group, numbers):
    score_rows(queries, keys, first, last, scores, group, numbers)
    gather_rows(scores, values, first, last, out, group, numbers)


@pytest.mark.parametrize(("first", "last"), [(0, 1), (3, 40), (5, 5)])
def test_attention_reads_the_rows_it_is_told(first, last):
    generator = np.random.default_rng(0)
    group, width = 3, 32
    queries, keys, values = (
        generator.standard_normal((rows, width)).astype(np.float32) for rows in (group, 40, 40)
    )
    scores = np.full((group, 50), np.nan, np.float32)
    out = np.full((group, width + 2), 7, np.float32)
    _both(queries, keys, values, first, last, scores, out, (0,) * group, (0,) * width)
    expected = queries @ keys[first:last].T
    np.testing.assert_allclose(scores[:, : last - first], expected, rtol=1e-4, atol=1e-4)
    assert np.isnan(scores[:, last - first :]).all()
    np.testing.assert_allclose(out[:, :width], expected @ values[first:last], rtol=1e-4, atol=1e-3)
    assert (out[:, width:] == 7).all()


@pytest.fixture
def loops(monkeypatch, int4_folder):
    """Those of the built-in model, for which they would not be worth it."""
    monkeypatch.setattr(language_loops, "WORTHWHILE_BYTES", 0)
    found = open_loops(int4_folder)
    assert isinstance(found, LanguageLoops)
    return found


def read(session, reader, token_ids, wanted=1):
    cache = session.new_cache(len(token_ids))
    embeds, positions = session.embed(token_ids), np.arange(len(token_ids))
    logits, states = reader.read(cache, embeds, positions, wanted)
    assert cache.length == len(token_ids)
    return logits, states, cache.values[:, :, :, : cache.length]


def error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_they_agree_with_the_graph(int4_folder, loops, threads):
    session = LanguageSession(int4_folder, as_loops=False)
    token_ids = np.random.default_rng(threads).integers(6, 180, 70).tolist()
    found, states, rows = read(session, loops, token_ids, wanted=20)
    expected, expected_states, expected_rows = read(session, session._reader, token_ids, wanted=20)
    assert found.shape == expected.shape == (20, loops.vocabulary)
    # Both round every row to 8 bits: a number that is rounded the other way is carried on.
    assert error(found, expected) < 0.01
    assert error(states, expected_states) < 0.01
    assert error(rows, expected_rows) < 0.01


def test_threads_change_nothing_but_the_order_of_sums(int4_folder, loops):
    session = LanguageSession(int4_folder, as_loops=False)
    before, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            found.append(read(session, loops, list(range(6, 60)))[0])
    finally:
        torch.set_num_threads(before)
    assert error(found[1], found[0]) < 0.01 and error(found[2], found[0]) < 0.01


def test_tokens_of_several_caches_are_read_together(int4_folder, loops):
    """Each as if it were alone, whatever stands in the other caches."""
    session = LanguageSession(int4_folder, as_loops=False)
    generator = np.random.default_rng(0)
    caches, alone, last = [], [], []
    for length in (5, 40, 1, 17, 30):
        token_ids = generator.integers(6, 180, length + 1).tolist()
        alone.append(read(session, loops, token_ids))
        caches.append(session.new_cache(length + 1 + len(caches)))
        embeds, positions = session.embed(token_ids), np.arange(length + 1)
        loops.read(caches[-1], embeds[:-1], positions[:-1], wanted=0)
        last.append((embeds[-1], positions[-1]))
    embeds, positions = (np.stack(column) for column in zip(*last, strict=True))
    logits, states = loops.read_each(caches, embeds, positions)
    for i, (cache, (logits_alone, states_alone, rows)) in enumerate(
        zip(caches, alone, strict=True)
    ):
        assert error(cache.values[:, :, :, : cache.length], rows) < 0.01
        assert error(logits[i], logits_alone[0]) < 0.01
        assert error(states[i], states_alone[0]) < 0.01


def test_a_session_reads_prompts_with_their_graph_and_the_rest_with_the_loops(int4_folder, loops):
    session = LanguageSession(int4_folder)
    assert isinstance(session._reader, LanguageLoops)
    cache = session.new_cache(20)
    embeds, positions = session.embed(list(range(6, 18))), np.arange(12)
    first = session.logits(cache, embeds, positions)
    cache.length = 0
    many = session.logits(cache, embeds, positions, wanted=12)
    assert error(first[-1], many[-1]) < 0.1


def test_they_are_left_out_where_they_do_not_apply(int4_folder, monkeypatch):
    assert open_loops(int4_folder) is None  # so small a model does not need them
    monkeypatch.setattr(language_loops, "WORTHWHILE_BYTES", 0)
    monkeypatch.setattr(language_loops, "_work", lambda: False)
    assert open_loops(int4_folder) is None


def test_other_number_formats_are_left_to_the_graph(torch_chat, tmp_path, monkeypatch):
    monkeypatch.setattr(language_loops, "WORTHWHILE_BYTES", 0)
    formats = ExportFormats(language_model="int8")
    export_model(torch_chat.model, torch_chat.processor, tmp_path, "test", formats=formats)
    assert open_loops(tmp_path) is None


def test_widths_that_are_no_whole_vectors_are_left_to_the_graph(loops):
    stored = loops._stored
    first, *others = stored.matrices
    narrow = [replace(first, width=first.width - BLOCK), *others]
    assert language_loops._fit(stored)
    assert not language_loops._fit(replace(stored, matrices=narrow))


def test_a_file_that_is_cut_off_is_named(int4_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(language_loops, "WORTHWHILE_BYTES", 0)
    for name in ("language_model.onnx", "language_model.onnx.data"):
        content = (int4_folder / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-5000] if name.endswith(".data") else content)
    with pytest.raises(ValueError, match=r"language_model\.onnx\.data is cut off; export"):
        open_loops(tmp_path)
