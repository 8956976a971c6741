"""Attention-based frame scoring and key-frame selection (paper section 3.2, equations 3 and 4).

No weight is learned here. Scores are float32 always: they are sums near the number of tokens per
frame and differ by fractions of one, which half precision rounds away.
"""

import math

import torch
from torch import Tensor

SCORE_BLOCK_ELEMENTS = 1 << 22  # attention entries held at once


def score_frames(features: Tensor) -> Tensor:
    """Return how much attention every frame receives; autocast is off here, see above.

    Equation 3, ``SA = softmax(F F^T / sqrt(d))`` over all T * N tokens, then the sum over queries
    of what the N tokens of a frame receive as keys. The scores of one leading index sum to T * N.

    Args:
        features: (..., T, N, D), the image encoder's patch features.

    Returns:
        (..., T) in float32.
    """
    *lead, frames, tokens_per_frame, dim = features.shape
    tokens = features.float().reshape(-1, frames * tokens_per_frame, dim)  # (G, T * N, D)
    groups, count = tokens.shape[:2]
    keys = tokens.mT / math.sqrt(dim)
    received = tokens.new_zeros(groups, count)
    queries_at_once = max(1, SCORE_BLOCK_ELEMENTS // max(1, groups * count))
    with torch.autocast(tokens.device.type, enabled=False):
        for queries in tokens.split(queries_at_once, dim=1):
            received += torch.softmax(queries @ keys, dim=-1).sum(1)
    return received.view(*lead, frames, tokens_per_frame).sum(-1)


def select_frames(scores: Tensor, k: int, largest: bool = True) -> Tensor:
    """Return the indices of the k best frames in time order (equation 4).

    Args:
        scores: (..., T).
        k: how many to keep, 1 to T.
        largest: keep the largest scores (the paper), or the smallest.

    Returns:
        (..., k), ascending. Of frames with equal scores the earlier ones are kept.

    Raises:
        ValueError: if k is out of range.
    """
    if not 1 <= k <= scores.shape[-1]:
        raise ValueError(
            f"Cannot keep {k} of {scores.shape[-1]} frames; k must be 1 to {scores.shape[-1]}."
        )
    ranking = torch.sort(scores, dim=-1, descending=largest, stable=True).indices
    return ranking[..., :k].sort(dim=-1).values


def uniform_frames(num_frames: int, k: int) -> list[int]:
    """Return k evenly spread indices, the ablation that looks at nothing.

    >>> uniform_frames(16, 8)
    [0, 2, 4, 6, 8, 10, 12, 14]
    """
    return [i * num_frames // k for i in range(k)]
