"""Exported parts beside torch on small random models: every choice that a configuration has."""

import numpy as np
import pytest
import torch

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mobile_videogpt.engines.onnx import weights
from mobile_videogpt.engines.onnx.contenders import CONTENDERS, contenders, sharpen
from mobile_videogpt.engines.onnx.fusion import write_projectors, write_selection
from mobile_videogpt.engines.onnx.graph import Graph
from mobile_videogpt.engines.onnx.image_encoder import write_image_encoder
from mobile_videogpt.engines.onnx.language_model import write_language_model
from mobile_videogpt.engines.onnx.layers import Layers
from mobile_videogpt.engines.onnx.sessions import open_session
from mobile_videogpt.engines.onnx.video_encoder import write_video_encoder


def random_model(seed=0, **overrides):
    torch.manual_seed(seed)
    config = MobileVideoGPTConfig.preset("moving-shapes", **overrides)
    return MobileVideoGPTForConditionalGeneration(config).eval()


def run(path, outputs, **inputs):
    arrays = {name: value.numpy() for name, value in inputs.items()}
    return [torch.from_numpy(x) for x in open_session(path).run(outputs, arrays)]


@pytest.mark.parametrize("layer", [-1, -2, 0])
@torch.inference_mode()
def test_image_encoder_gives_the_layer_that_is_asked_for(tmp_path, layer):
    model = random_model(image_feature_layer=layer)
    write_image_encoder(tmp_path / "x.onnx", model.image_encoder, layer, "float32")
    pixels = torch.randn(3, 3, 48, 48)
    [features] = run(tmp_path / "x.onnx", ["features"], pixel_values=pixels)
    torch.testing.assert_close(features, model.encode_images(pixels[None])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 8])
@torch.inference_mode()
def test_video_encoder_scans_in_both_directions(tmp_path, frames):
    model = random_model(seed=1)
    write_video_encoder(tmp_path / "x.onnx", model.video_encoder, frames, "float32")
    pixels = torch.randn(frames, 3, 48, 48)
    [features] = run(tmp_path / "x.onnx", ["features"], pixel_values=pixels)
    expected = model.encode_video_frames(pixels[None])[0]
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("selection", ["per_chunk", "global", "uniform"])
@pytest.mark.parametrize("largest", [True, False])
@torch.inference_mode()
def test_selection_keeps_the_same_frames(tmp_path, selection, largest):
    model = random_model(frame_selection=selection, select_largest=largest)
    write_selection(tmp_path / "x.onnx", model.config)
    features = torch.randn(16, 36, 96)
    scores, kept = run(tmp_path / "x.onnx", ["scores", "kept"], features=features)
    expected_scores, expected = model.select(features[None])
    assert kept.tolist() == expected[0].tolist()
    torch.testing.assert_close(scores, expected_scores[0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_of_equal_frames_the_earlier_are_kept(tmp_path):
    model = random_model()
    write_selection(tmp_path / "x.onnx", model.config)
    features = torch.randn(1, 36, 96).expand(16, -1, -1).contiguous()
    [kept] = run(tmp_path / "x.onnx", ["kept"], features=features)
    expected = model.select(features[None])[1][0]
    assert len(set(kept.tolist())) == len(expected)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"projector_type": "mlp"},
        {"video_token_layout": "released", "video_pool_grid": 3, "video_token_grid": 2},
        {"image_token_grid": 4},
        {"image_token_grid": 6},
    ],
)
@torch.inference_mode()
def test_projectors_in_every_layout(tmp_path, overrides):
    model = random_model(**overrides)
    write_projectors(tmp_path / "x.onnx", model, "float32")
    images, videos = torch.randn(16, 36, 96), torch.randn(8, 36, 96)
    [embeds] = run(
        tmp_path / "x.onnx", ["visual_embeds"], image_features=images, video_features=videos
    )
    expected = model.project_features(images[None], videos[None])[0]
    torch.testing.assert_close(embeds, expected, rtol=1e-4, atol=1e-4)


def linear(tmp_path, weight, rows, number_format, bias=None):
    graph = Graph(tmp_path / "x.onnx")
    layers = Layers(graph, number_format)
    source = graph.input("x", ["rows", weight.shape[1]])
    graph.output(layers.linear(source, weight, bias), "y", ["rows", weight.shape[0]])
    graph.save()
    return run(tmp_path / "x.onnx", ["y"], x=rows)[0]


@pytest.mark.parametrize("number_format", ["int8", "int4"])
@pytest.mark.parametrize("rows", [1, 40])
def test_quantised_layers_compute_what_their_weights_say(tmp_path, number_format, rows):
    """Against the stored weights taken back to float32, so that only the inputs are rounded."""
    torch.manual_seed(0)
    weight, x, bias = torch.randn(24, 96), torch.randn(rows, 96), torch.randn(24)
    if number_format == "int8":
        values, scales = weights.to_int8(weight)
        stored = torch.from_numpy(values.T * scales[:, None])
    else:
        packed, scales = weights.to_int4(weight)
        nibbles = np.stack([packed & 15, packed >> 4], axis=-1).reshape(24, 3, 32)
        stored = torch.from_numpy((nibbles.astype(np.float32) - 8) * scales.reshape(24, 3, 1))
        stored = stored.reshape(24, 96)
    expected = x @ stored.T + bias
    found = linear(tmp_path, weight, x, number_format, bias)
    assert (found - expected).square().mean().sqrt() < 0.01 * expected.square().mean().sqrt()
    limit = 0.02 if number_format == "int8" else 0.12
    assert (stored - weight).square().mean().sqrt() < limit


def test_one_rows_outlier_is_not_anothers(tmp_path):
    weight = torch.eye(32)
    rows = torch.ones(2, 32)
    rows[0, 0] = 1e6
    found = linear(tmp_path, weight, rows, "int8")
    torch.testing.assert_close(found[1], rows[1], rtol=0.02, atol=0)


def test_a_row_of_zeros_stays_zero(tmp_path):
    found = linear(tmp_path, torch.randn(8, 32), torch.zeros(1, 32), "int8")
    assert (found == 0).all()


def test_int8_sums_of_two_products_fit_into_16_bits():
    """Processors without VNNI add pairs of products in 16 bits and cut off what does not fit."""
    values, _ = weights.to_int8(torch.randn(16, 64) * torch.logspace(-3, 3, 16)[:, None])
    assert np.abs(values.astype(int)).max() * 2 * 255 <= 32767


def test_inputs_that_do_not_fill_a_block_of_32(tmp_path):
    weight, rows = torch.randn(16, 40), torch.randn(3, 40)
    found = linear(tmp_path, weight, rows, "int4")
    assert (found - rows @ weight.T).square().mean().sqrt() < 0.12 * 40**0.5


@pytest.mark.parametrize("vocabulary", [300, 5000, 151936])
def test_contenders_hold_the_likeliest_tokens_and_few_others(vocabulary):
    rng = np.random.default_rng(0)
    logits = rng.standard_normal(vocabulary).astype(np.float32)
    found = contenders(logits)
    likeliest = np.argsort(logits)[-CONTENDERS:]
    assert set(likeliest) <= set(found)
    assert len(found) <= max(300, 3 * CONTENDERS)


def test_contenders_that_stand_together_are_all_found():
    logits = np.zeros(151936, np.float32)
    logits[700:800] = np.arange(100) + 1.0
    assert set(range(700, 800)) <= set(contenders(logits))


def test_sharpened_logits_are_exact_where_it_matters():
    rng = np.random.default_rng(1)
    table = rng.standard_normal((5000, 32)).astype(np.float16)
    states = rng.standard_normal((2, 32)).astype(np.float32)
    exact = states @ table.astype(np.float32).T
    logits = exact + 0.5 * rng.standard_normal(exact.shape).astype(np.float32)
    coarse = logits.copy()
    sharpen(logits, states, table, certain=[7])
    for row, true, before in zip(logits, exact, coarse, strict=True):
        tokens = [*contenders(before), 7]
        np.testing.assert_allclose(row[tokens], true[tokens], rtol=1e-5, atol=1e-4)
        assert row.argmax() == true.argmax()
        others = np.setdiff1d(np.arange(5000), tokens)
        assert (row[others] == before[others]).all()


def test_a_sliding_window_is_refused(tmp_path):
    model = random_model()
    model.language_model.config.use_sliding_window = True
    with pytest.raises(ValueError, match="sliding window"):
        write_language_model(tmp_path / "x.onnx", model.language_model, "float32")


def test_equal_weights_are_stored_once(tmp_path):
    graph = Graph(tmp_path / "x.onnx")
    table = np.random.default_rng(0).random((64, 64))
    assert graph.constant(table) == graph.constant(table.copy())
    assert graph.constant(table) != graph.constant(table.astype(np.float32))
