"""int8: products are exact, rounding is small, and the built-in model keeps its words."""

import pytest
import torch
from torch import nn

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.engines import int8
from mobile_videogpt.engines.devices import pick_dtype
from mobile_videogpt.engines.int8 import Int8Embedding, Int8Linear, quantize_tokens, quantize_weight
from mobile_videogpt.synthetic import make_clip

CPU = torch.device("cpu")
needs_kernel = pytest.mark.skipif(
    not int8.has_int8_kernel(), reason="this processor or this torch multiplies no bytes"
)


@pytest.fixture(scope="module")
def float_chat():
    return VideoChat("moving-shapes", dtype="float32")


@pytest.fixture(scope="module")
def int8_chat():
    return VideoChat("moving-shapes", dtype="int8")


@pytest.fixture(params=["kernel", "widened"])
def either_form(request, monkeypatch):
    if request.param == "kernel" and not int8.has_int8_kernel():
        pytest.skip("this processor or this torch multiplies no bytes")
    monkeypatch.setattr(int8, "has_int8_kernel", lambda: request.param == "kernel")


def test_a_weight_is_rounded_by_at_most_half_a_step_of_its_channel():
    weight = torch.randn(40, 64) * torch.logspace(-3, 2, 40)[:, None]
    levels, scale = quantize_weight(weight)
    assert levels.dtype == torch.int8 and levels.abs().max() == 127
    assert ((levels * scale[:, None] - weight).abs() <= 0.5001 * scale[:, None]).all()


def test_a_token_is_rounded_by_at_most_half_a_step_of_its_own():
    x = torch.randn(5, 64) * torch.tensor([1e-4, 1.0, 50.0, 1e5, 0.0])[:, None]
    levels, scale = quantize_tokens(x)
    assert levels.dtype == torch.uint8
    back = (levels.float() - int8.ZERO_POINT) * scale
    assert ((back - x).abs() <= 0.5001 * scale).all()
    assert (back[-1] == 0).all()


@needs_kernel
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_the_kernel_computes_the_product_of_the_rounded_values(rows):
    x = torch.randn(rows, 96)
    levels, scale = quantize_tokens(x)
    product = (levels.double() - int8.ZERO_POINT) * scale
    weight, weight_scale = quantize_weight(torch.randn(40, 96))
    linear = Int8Linear(weight, weight_scale, torch.ones(40))
    expected = product @ (weight.double() * weight_scale[:, None]).T + 1
    assert torch.allclose(linear(x).double(), expected, rtol=1e-5, atol=1e-6)


def test_a_layer_is_close_to_the_one_it_was_made_of(either_form):
    linear = nn.Linear(96, 40)
    x = torch.randn(2, 300, 96)
    with torch.inference_mode():
        difference = Int8Linear.from_linear(linear)(x) - linear(x)
        assert difference.norm() < 0.02 * linear(x).norm()
        embedding = nn.Embedding(30, 16)
        rows = Int8Embedding(*quantize_weight(embedding.weight))(torch.tensor([[3, 29]]))
    assert torch.allclose(rows, embedding.weight[[3, 29]], atol=0.02)


@pytest.mark.parametrize("bias", [True, False])
def test_layers_together_are_the_layers_one_by_one(either_form, bias):
    linears = [Int8Linear.from_linear(nn.Linear(64, n, bias=bias)) for n in (24, 8)]
    gate, up = (Int8Linear.from_linear(nn.Linear(64, 96, bias=False)) for _ in range(2))
    down = Int8Linear.from_linear(nn.Linear(96, 64, bias=False))
    x = torch.randn(9, 64)
    with torch.inference_mode():
        for together, alone in zip(int8.project(x, linears), linears, strict=True):
            assert torch.allclose(together, alone(x), atol=1e-6)
        expected = down(nn.functional.silu(gate(x)) * up(x))
        assert torch.allclose(int8.gated_mlp(x, gate, up, down), expected, atol=2e-3)


def test_the_large_parts_are_quantised_and_the_others_are_not(int8_chat):
    model = int8_chat.model
    assert int8_chat.engine.number_formats() == {
        "image_encoder": "int8",
        "video_encoder": "float32",
        "projectors": "float32",
        "language_model": "int8",
    }
    floats = [name for name, m in model.language_model.named_modules() if type(m) is nn.Linear]
    assert floats == [] and isinstance(model.get_input_embeddings(), Int8Embedding)


def test_int8_says_what_float32_says(float_chat, int8_chat):
    """Greedy tokens that agree while both have said the same: at least 98 %."""
    agreed = total = 0
    for seed in range(6):
        frames = make_clip(seed).frames()
        for question in ("What happens in the video?", "How many shapes are there?"):
            words = [
                chat.processor.tokenizer(chat.ask(frames, question).text)["input_ids"]
                for chat in (float_chat, int8_chat)
            ]
            pairs = list(zip(*words, strict=False))
            same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
            agreed += same
            total += same + (words[0] != words[1])
    assert agreed >= 0.98 * total > 0


def test_the_transformers_forward_of_a_quantised_model_still_works(int8_chat):
    ids = torch.tensor([[7, 8, 9, 10]])
    model = int8_chat.model.language_model
    with torch.inference_mode():
        logits = model(input_ids=ids).logits
        runner = int8_chat.engine._runner
        from mobile_videogpt.engines.kv_cache import new_cache

        embeds = model.get_input_embeddings()(ids)
        ours = runner.read(embeds, new_cache(len(model.model.layers)), logits="all")
    assert torch.allclose(ours, logits, atol=0.05 * float(logits.abs().max()))


def test_other_weights_have_another_fingerprint(float_chat, int8_chat):
    assert float_chat.engine.fingerprint != int8_chat.engine.fingerprint
    again = VideoChat("moving-shapes", dtype="int8")
    assert again.engine.fingerprint == int8_chat.engine.fingerprint


@pytest.mark.parametrize(("parameters", "expected"), [(10, "float32"), (500_000_000, "int8")])
def test_auto_takes_int8_for_large_models_only(parameters, expected):
    if expected == "int8" and not int8.has_int8_kernel():
        expected = "float32"
    assert pick_dtype("auto", CPU, parameters) == getattr(torch, expected)


def test_int8_is_refused_off_the_cpu_and_the_built_in_model_stays_float32(float_chat):
    with pytest.raises(ValueError, match=r"int8 is for the CPU.*cuda.*auto"):
        pick_dtype("int8", torch.device("cuda"))
    chat = VideoChat("moving-shapes")
    assert set(chat.engine.number_formats().values()) == {"float32"}
