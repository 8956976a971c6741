"""Weights of linear layers in fewer bits: what is stored, and what it stands for.

* int4, for reading one token at a time, where the time goes into reading weights: 32 weights share
  one scale (`MatMulNBits`), or 128 where a product only has to find candidates.
* int8, for reading many tokens at once, where the time goes into arithmetic: each output has one
  scale. Values stay within 7 bits: processors without VNNI add two products in 16 bits, and
  255 * 63 * 2 is the largest such sum that fits.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

INT4_BLOCK = 32
INT4_COARSE_BLOCK = 128
INT8_LARGEST = 63
# Tried as shares of the scale that just covers a block's largest weight: cutting off the largest
# a little makes all others finer.
_SHARES = (1.0, 0.95, 0.9, 0.85)
_ROWS_AT_ONCE = 4096


def to_int4(weight: Tensor, block: int = INT4_BLOCK) -> tuple[np.ndarray, np.ndarray]:
    """Quantise (outputs, inputs) to 4 bits in blocks of so many inputs.

    Returns:
        (outputs, blocks, block / 2) bytes, two weights in each, the earlier one in the lower half,
        as `value + 8`; and (outputs * blocks) scales. Inputs are padded with zeros to whole blocks.
    """
    rows = weight.split(_ROWS_AT_ONCE)
    packed, scales = zip(*(_rows_to_int4(part, block) for part in rows), strict=True)
    return np.concatenate(packed), np.concatenate(scales).reshape(-1)


def _rows_to_int4(weight: Tensor, block: int) -> tuple[np.ndarray, np.ndarray]:
    inputs = weight.shape[1]
    weight = torch.nn.functional.pad(weight.float(), (0, -inputs % block))
    blocks = weight.unflatten(1, (-1, block))  # (outputs, blocks, block)
    peak = blocks.gather(2, blocks.abs().argmax(2, keepdim=True))
    # The largest becomes -8: the side on which 4 bits reach further.
    full = torch.where(peak == 0, torch.ones_like(peak), peak / -8)
    best_error = torch.full_like(full, torch.inf)
    best_scale, best = full.clone(), torch.zeros_like(blocks)
    for share in _SHARES:
        scale = full * share
        values = (blocks / scale).round_().clamp_(-8, 7)
        error = (values * scale - blocks).square_().sum(2, keepdim=True)
        is_better = error < best_error
        best_error = torch.where(is_better, error, best_error)
        best_scale = torch.where(is_better, scale, best_scale)
        best = torch.where(is_better, values, best)
    nibbles = (best + 8).to(torch.uint8)
    packed = nibbles[..., 0::2] | (nibbles[..., 1::2] << 4)
    return packed.numpy(), best_scale.squeeze(2).numpy()


def to_int8(weight: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Quantise (outputs, inputs) to 7 of 8 bits, one scale per output.

    Returns:
        (inputs, outputs) int8 and (outputs) scales.
    """
    weight = weight.float()
    scale = weight.abs().amax(1, keepdim=True).clamp_(min=1e-12) / INT8_LARGEST
    values = (weight / scale).round_().clamp_(-INT8_LARGEST, INT8_LARGEST).to(torch.int8)
    return values.t().contiguous().numpy(), scale.squeeze(1).numpy()
