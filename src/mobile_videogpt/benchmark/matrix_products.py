"""The video encoder beside its own matrix products alone: how much all the rest of it costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from mobile_videogpt.benchmark.costs import mamba_products
from mobile_videogpt.benchmark.products import left_matrix, matrix_product
from mobile_videogpt.engines.devices import synchronize

REPEATS = 3


def compare_video_encoder(chat: Any, clip: str, number_format: str) -> dict[str, Any]:
    """Time the encoder and the products of its linear layers, in alternation.

    Args:
        chat: a loaded `VideoChat`.
        clip: a video file.
        number_format: in which the engine computes this part.

    Returns:
        `video_encoder_s` and `products_s` (medians), `ratio` (median of the pairs' ratios),
        `format`; for other formats than float32 also `float32_products_s`, and the encoder's time
        divided by that, `float32_ratio`.
    """
    device = torch.device(chat.engine.device)
    formats = dict.fromkeys((number_format, "float32"))
    products = {name: block_products(chat.config, name, device) for name in formats}
    encoder, alone = [], {name: [] for name in formats}  # type: ignore[var-annotated]
    for _ in range(REPEATS + 1):
        chat.forget()
        encoder.append(chat.open(clip).timings["video_encoder"])
        for name, run in products.items():
            start = time.perf_counter()
            run()
            alone[name].append(time.perf_counter() - start)
    # The first round warms up.
    ratios = [ours / least for ours, least in zip(encoder, alone[number_format], strict=True)]
    found = {
        "video_encoder_s": statistics.median(encoder[1:]),
        "products_s": statistics.median(alone[number_format][1:]),
        "ratio": statistics.median(ratios[1:]),
        "format": number_format,
    }
    if number_format != "float32":
        plain = alone["float32"]
        found["float32_products_s"] = statistics.median(plain[1:])
        found["float32_ratio"] = statistics.median(
            ours / least for ours, least in zip(encoder[1:], plain[1:], strict=True)
        )
    return found


def block_products(config: Any, number_format: str, device: torch.device) -> Callable[[], None]:
    """A function that multiplies every matrix of every block once, and nothing else.

    Each block has weights of its own, as in the encoder: they do not stay in the cache.
    """
    shapes = mamba_products(config) * config.video_config.num_hidden_layers
    lefts = {
        (rows, size): left_matrix(rows, size, number_format, device)
        for rows, size, _ in set(shapes)
    }
    products = [
        matrix_product(lefts[rows, size], outputs, number_format) for rows, size, outputs in shapes
    ]

    @torch.inference_mode()
    def run() -> None:
        for product in products:
            product()
        synchronize(device)

    return run
