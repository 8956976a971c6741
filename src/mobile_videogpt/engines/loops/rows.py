"""Loops over rows that stand between any two products: the residual stream and its norm.

Activations between the products may be bfloat16, which numba does not know: such arrays are viewed
as 16-bit integers.
"""

from __future__ import annotations

import numpy as np

from mobile_videogpt.engines.loops.scalars import narrow, widen
from mobile_videogpt.models.compiled_loops import compiled
from mobile_videogpt.models.scan_loops import wide_vectors

f32 = np.float32


@compiled
def add_rows(hidden, product):  # type: ignore[no-untyped-def]
    """`hidden += product`; (rows, D) each."""
    wide_vectors()
    for t in range(len(hidden)):
        row, added = hidden[t], product[t]
        for c in range(len(row)):
            row[c] += widen(added[c])


@compiled(fastmath=True)  # for a sum in any order
def rms_norm(hidden, weight, epsilon, normed):  # type: ignore[no-untyped-def]
    """`normed = hidden / rms(hidden) * weight`, row by row."""
    wide_vectors()
    for t in range(len(hidden)):
        row, out = hidden[t], normed[t]
        total = f32(0.0)
        for c in range(len(row)):
            total += row[c] * row[c]
        factor = f32(1.0) / np.sqrt(total / f32(len(row)) + f32(epsilon))
        for c in range(len(row)):
            out[c] = narrow(out, row[c] * factor * weight[c])
