"""The loops of Qwen2 reading many tokens, around its matrix products; imported where numba is.

Activations between the products are bfloat16; see `rows`.
"""

from __future__ import annotations

import numpy as np

from mobile_videogpt.engines.loops.scalars import narrow, silu, widen
from mobile_videogpt.models.compiled_loops import compiled
from mobile_videogpt.models.scan_loops import wide_vectors

f32 = np.float32


@compiled
def widen_rows(levels, scales, widened, first, last):  # type: ignore[no-untyped-def]
    """`widened = levels * scales` for some inputs of an 8-bit matrix; (inputs, outputs) each."""
    wide_vectors()
    for k in range(first, last):
        row, out = levels[k], widened[k]
        for n in range(len(row)):
            out[n] = narrow(out, f32(row[n]) * scales[n])


@compiled
def _turn(product, bias, cosines, sines, out):  # type: ignore[no-untyped-def]
    """One head's numbers with its bias, rotated."""
    wide_vectors()
    half = len(cosines)
    for c in range(half):
        a = widen(product[c]) + bias[c]
        b = widen(product[half + c]) + bias[half + c]
        out[c] = narrow(out, a * cosines[c] - b * sines[c])
        out[half + c] = narrow(out, b * cosines[c] + a * sines[c])


@compiled
def _add_bias(product, bias, out):  # type: ignore[no-untyped-def]
    wide_vectors()
    for c in range(len(out)):
        out[c] = narrow(out, widen(product[c]) + bias[c])


@compiled
def take_apart(product, bias, cosines, sines, queries, caches, narrow, first, start):  # type: ignore[no-untyped-def]
    """Rows of queries, keys and values side by side, to where each belongs.

    Args:
        product: (rows, QKV).
        bias: (QKV).
        cosines, sines: (L, width / 2), of all tokens that are read.
        queries: (heads, L, width), filled.
        caches: keys and values, (heads of keys, capacity, width) float32 each, filled.
        narrow: the same as the products take them, (heads of keys, start + L, width) each.
        first: which token the first row is.
        start: tokens that the cache held before.
    """
    heads, _, width = queries.shape
    heads_of_keys = len(caches[0])
    for row in range(len(product)):
        own, token = product[row], first + row
        for head in range(heads):
            left, right = head * width, (head + 1) * width
            turn = queries[head, token]
            _turn(own[left:right], bias[left:right], cosines[token], sines[token], turn)
        for g in range(heads_of_keys):
            left, right = (heads + g) * width, (heads + g + 1) * width
            key = caches[0][g, start + token]
            _turn(own[left:right], bias[left:right], cosines[token], sines[token], key)
            left, right = left + heads_of_keys * width, right + heads_of_keys * width
            value = caches[1][g, start + token]
            _add_bias(own[left:right], bias[left:right], value)
            _copy(key, narrow[0][g, start + token])
            _copy(value, narrow[1][g, start + token])


@compiled
def _copy(row, out):  # type: ignore[no-untyped-def]
    wide_vectors()
    for c in range(len(row)):
        out[c] = narrow(out, row[c])


@compiled
def copy_rows(cache, narrow, first, last):  # type: ignore[no-untyped-def]
    """Rows of a cache as the products take them; (heads of keys, rows, width) each."""
    for g in range(len(cache)):
        for row in range(first, last):
            _copy(cache[g, row], narrow[g, row])


@compiled
def gate_rows(both, gated):  # type: ignore[no-untyped-def]
    """`gated = silu(gate) * up`; both (rows, 2 * width) holds gate, then up."""
    wide_vectors()
    width = gated.shape[1]
    for t in range(len(both)):
        row, out = both[t], gated[t]
        for c in range(width):
            out[c] = narrow(out, silu(widen(row[c])) * widen(row[width + c]))
