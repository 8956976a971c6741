"""Matrix products alone, in every number format: what the ceiling and the video encoder's own
products are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

Product = Callable[[], Any]


def left_matrix(rows: int, inputs: int, number_format: str, device: torch.device) -> torch.Tensor:
    """Random activations (rows, inputs), as a product of that format takes them."""
    if not is_integer(number_format):
        return torch.randn(rows, inputs, device=device).to(getattr(torch, number_format))
    dtype = torch.uint8 if _has_packed_int8(device) else torch.int8
    return torch.randint(0, 127, (rows, inputs), dtype=dtype, device=device)


def matrix_product(left: torch.Tensor, outputs: int, number_format: str) -> Product:
    """A function that multiplies `left` (M, K) by the transpose of a new weight (outputs, K).

    Integers take the fastest product there is here: the engine's own packed one, or torch's.
    int4 weights are multiplied as int8.
    """
    inputs, device = left.shape[1], left.device
    if not is_integer(number_format):
        weight = torch.randn(outputs, inputs, device=device).to(left.dtype)
        return partial(torch.nn.functional.linear, left, weight)
    levels = torch.randint(-127, 127, (outputs, inputs), dtype=torch.int8, device=device)
    if left.dtype == torch.int8:
        return partial(torch._int_mm, left, levels.t())
    from mobile_videogpt.engines.int8 import Int8Linear

    return partial(Int8Linear(levels, torch.ones(outputs)).times, left)


def is_integer(number_format: str) -> bool:
    """Whether products of this format are products of integers."""
    return number_format in ("int8", "int4")


def _has_packed_int8(device: torch.device) -> bool:
    from mobile_videogpt.engines.int8 import has_int8_kernel

    return device.type == "cpu" and has_int8_kernel()
