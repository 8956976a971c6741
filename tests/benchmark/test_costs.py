"""FLOPs by formula against FLOPs counted by torch while the parts run."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mobile_videogpt.benchmark import costs
from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration

CEILING = {"matmul_gflops": {"float32": 100.0, "int8": 400.0}, "memory_gb_s": 10.0}


@pytest.fixture(scope="module")
def model():
    model = MobileVideoGPTForConditionalGeneration(MobileVideoGPTConfig.preset("moving-shapes"))
    # Attention as plain products: torch does not count those of its fused kernel on the CPU.
    for part in (model.image_encoder, model.language_model):
        part.set_attn_implementation("eager")
    return model.eval()


def counted(work):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def pixels(model, frames):
    size = model.config.image_config.image_size
    return torch.randn(1, frames, 3, size, size)


def test_the_image_encoder_costs_what_torch_counts(model):
    given = pixels(model, model.config.num_frames)
    cost = costs.image_encoder_cost(model.config)
    assert cost.flops == pytest.approx(counted(lambda: model.encode_images(given)), rel=0.02)


def test_the_linear_layers_of_the_video_encoder_cost_what_torch_counts(model):
    rows = costs.mamba_products(model.config)
    want = sum(2 * m * k * n for m, k, n in rows)
    block = model.video_encoder.layers[0]
    shapes = []
    hooks = [
        module.register_forward_hook(lambda m, args, out: shapes.append((args[0], m.weight)))
        for module in block.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    length = 1 + model.config.num_kept_frames * model.config.video_config.grid_size**2
    with torch.no_grad():
        block(torch.randn(1, length, model.config.video_config.hidden_size))
    for hook in hooks:
        hook.remove()
    assert want == sum(2 * x.numel() * w.shape[0] for x, w in shapes)


def test_the_prefill_costs_what_torch_counts(model):
    text, prompt = model.config.text_config, 96
    ids = torch.zeros(1, prompt, dtype=torch.long)
    language_model = model.language_model
    found = counted(lambda: language_model(input_ids=ids, logits_to_keep=1))
    causal = 2.0 * text.num_hidden_layers * prompt**2 * text.hidden_size
    # torch counts attention over the whole square, the formula the half that is needed.
    assert costs.prefill_cost(text, prompt).flops == pytest.approx(found - causal, rel=0.02)


def test_decoding_reads_every_weight_once(model):
    text = model.config.text_config
    matrices = [p for p in model.language_model.parameters() if p.dim() == 2]
    assert costs.decode_cost(text, 10).weights == sum(p.numel() for p in matrices)


def test_the_published_sizes_of_the_half_billion_model():
    config = MobileVideoGPTConfig.preset("0.5b")
    found = costs.part_costs(config, 2402 + 30)
    assert found["decode_token"].weights == pytest.approx(494e6, rel=0.01)
    assert found["image_encoder"].flops == pytest.approx(16 * 2 * 197 * 78.4e6, rel=0.06)


def test_the_least_time_is_that_of_the_slower_of_products_and_memory():
    products = costs.Cost(flops=1e12, weights=1)
    memory = costs.Cost(flops=1, weights=1e9, state_bytes=1e9)
    assert costs.least_seconds(products, "float32", CEILING) == pytest.approx(10)
    assert costs.least_seconds(memory, "float32", CEILING) == pytest.approx(0.5)
    assert costs.least_seconds(memory, "int4", CEILING) == pytest.approx(0.15625)
    assert costs.least_seconds(products, "float16", CEILING) is None
