"""Products alone: their shapes, and the ceiling that is measured with them."""

import pytest
import torch

from mobile_videogpt.benchmark import ceiling
from mobile_videogpt.benchmark.costs import mamba_products
from mobile_videogpt.benchmark.matrix_products import block_products
from mobile_videogpt.benchmark.products import left_matrix, matrix_product
from mobile_videogpt.config import MobileVideoGPTConfig

CPU = torch.device("cpu")


@pytest.mark.parametrize("number_format", ["float32", "bfloat16", "int8", "int4"])
def test_a_product_has_its_shape(number_format):
    left = left_matrix(40, 64, number_format, CPU)
    assert matrix_product(left, 96, number_format)().shape == (40, 96)


@pytest.mark.parametrize("number_format", ["float32", "int8"])
def test_every_block_of_the_video_encoder_is_multiplied(number_format, monkeypatch):
    config = MobileVideoGPTConfig.preset("moving-shapes")
    made = []
    module = "mobile_videogpt.benchmark.matrix_products.matrix_product"
    monkeypatch.setattr(
        module, lambda left, outputs, name: lambda: made.append((*left.shape, outputs))
    )
    block_products(config, number_format, CPU)()
    assert made == mamba_products(config) * config.video_config.num_hidden_layers


def test_the_ceiling_has_every_format_of_the_processor(monkeypatch):
    monkeypatch.setattr(ceiling, "ROWS", 64)
    monkeypatch.setattr(ceiling, "MEMORY_BYTES", 2**22)
    found = ceiling.measure_ceiling("cpu")
    assert set(found["matmul_gflops"]) == {"float32", "bfloat16", "float16", "int8"}
    assert min(found["matmul_gflops"].values()) > 0 and found["memory_gb_s"] > 0
    assert found["device"] == "cpu" and found["threads"] == torch.get_num_threads()
