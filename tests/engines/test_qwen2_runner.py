"""The runner and its cache against transformers' own forward, on tiny language models."""

import pytest
import torch
from transformers import DynamicCache, Qwen2Config, Qwen2ForCausalLM

from mobile_videogpt.engines.kv_cache import SPARE_TOKENS, RoomyLayer, fork_cache, new_cache
from mobile_videogpt.engines.qwen2 import Qwen2Runner

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Qwen2ForCausalLM(Qwen2Config(**SIZES, initializer_range=0.3)).eval()
    for weight in made.parameters():
        weight.data += 0.05 * torch.randn_like(weight)  # biases and norms too
    return made


@pytest.fixture(scope="module")
def embeds():
    torch.manual_seed(1)
    return torch.randn(2, 330, 32)


@pytest.fixture(scope="module")
def expected(model, embeds):
    with torch.inference_mode():
        return model(inputs_embeds=embeds).logits


def test_a_long_prompt_a_question_and_single_tokens(model, embeds, expected):
    assert Qwen2Runner.fits(model)
    runner, cache = Qwen2Runner(model), new_cache(3, 300)
    parts = [runner.read(embeds[:, a:b], cache, logits="all") for a, b in ((0, 300), (300, 328))]
    parts += [runner.read(embeds[:, i : i + 1], cache) for i in (328, 329)]
    assert torch.allclose(torch.cat(parts, 1), expected, atol=1e-4)


def test_only_the_last_position_or_none(model, embeds, expected):
    runner, cache = Qwen2Runner(model), new_cache(3)
    assert runner.read(embeds[:, :320], cache, logits="none").shape == (2, 0, 50)
    last = runner.read(embeds[:, 320:], cache)
    assert torch.allclose(last, expected[:, -1:], atol=1e-4)


def test_positions_may_have_gaps(model, embeds):
    positions = torch.tensor([[0, 1, 2, 7, 8, 20]])
    few = embeds[:1, :6]
    with torch.inference_mode():
        wanted = model(inputs_embeds=few, position_ids=positions).logits
    cache, runner = new_cache(3), Qwen2Runner(model)
    first = runner.read(few[:, :4], cache, positions[:, :4], "all")
    second = runner.read(few[:, 4:], cache, positions[:, 4:], "all")
    assert torch.allclose(torch.cat([first, second], 1), wanted, atol=1e-4)


def test_the_input_is_left_as_it_was(model, embeds):
    before = embeds.clone()
    Qwen2Runner(model).read(embeds, new_cache(3))
    assert torch.equal(embeds, before)


def test_other_models_are_left_to_transformers(model):
    assert not Qwen2Runner.fits(torch.nn.Linear(2, 2))
    sliding = Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=8, max_window_layers=1)
    assert not Qwen2Runner.fits(Qwen2ForCausalLM(sliding))
    assert not Qwen2Runner.fits(Qwen2ForCausalLM(Qwen2Config(**SIZES)).to(torch.bfloat16))


# The cache


def test_transformers_can_use_the_cache(model, embeds, expected):
    cache = new_cache(3)
    with torch.inference_mode():
        parts = [
            model(inputs_embeds=part, past_key_values=cache, use_cache=True).logits
            for part in embeds.split(200, dim=1)
        ]
    assert torch.allclose(torch.cat(parts, 1), expected, atol=1e-4)


def test_a_step_is_written_in_place_and_growing_keeps_what_was_there():
    layer, plain = RoomyLayer(4), DynamicCache()
    torch.manual_seed(0)
    steps = [torch.randn(1, 2, n, 8) for n in (3, 1, 1, SPARE_TOKENS, 1)]
    places = []
    for step in steps:
        keys, values = layer.update(step, -step)
        places.append(keys.data_ptr())
        wanted_keys, wanted_values = plain.update(step, -step, 0)
        assert torch.equal(keys, wanted_keys) and torch.equal(values, wanted_values)
    assert places[0] == places[1] and places[2] == places[3] and places[1] != places[2]
    assert layer.get_seq_length() == 5 + SPARE_TOKENS + 1


def test_a_forked_cache_leaves_the_first_as_it_was():
    cache = new_cache(1, 8)
    cache.update(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4), 0)
    forked = fork_cache(cache, room=2, batch=3)
    keys, _ = forked.update(torch.zeros(3, 2, 2, 4), torch.zeros(3, 2, 2, 4), 0)
    assert keys.shape == (3, 2, 5, 4) and keys[:, :, :3].eq(1).all()
    assert cache.get_seq_length() == 3 and cache.layers[0].keys.eq(1).all()
