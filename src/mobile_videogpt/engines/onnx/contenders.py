"""Logits made with a coarse copy of the output matrix, those that matter made again exactly.

Reading the output matrix is a third of what a decoded token costs, and it only has to find the
tokens that may win: their logits are computed once more from the table of embeddings, which is the
same matrix, in float16, and lies on disk anyway.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CONTENDERS = 64
_GROUPS = 16 * CONTENDERS


def sharpen(
    logits: np.ndarray, states: np.ndarray, table: np.ndarray, certain: Sequence[int] = ()
) -> None:
    """Replace the largest logits of each row, and those of some tokens, by exact ones.

    Args:
        logits: (rows, V), changed in place.
        states: (rows, E), what they were made of.
        table: (V, E), the output matrix.
        certain: tokens whose logits are made again wherever they stand.
    """
    for row, state in zip(logits, states, strict=True):
        tokens = np.union1d(contenders(row), np.asarray(certain, dtype=np.int64))
        row[tokens] = table[tokens].astype(np.float32) @ state


def contenders(row: np.ndarray) -> np.ndarray:
    """At least the `CONTENDERS` likeliest tokens of (V,) logits, seldom many more; ascending.

    The largest logits of groups of tokens give the threshold: sorting all would take longer than
    what is saved.
    """
    if len(row) <= _GROUPS:
        return np.arange(len(row))
    width = len(row) // _GROUPS
    peaks = row[: _GROUPS * width].reshape(_GROUPS, width).max(1)
    threshold = np.partition(peaks, -CONTENDERS)[-CONTENDERS]
    return np.flatnonzero(row >= threshold)
