"""The loops of VideoMamba's blocks around its matrix products, for numba; imported where numba is.

Each is one pass over rows that an earlier product has left in the cache; see `rows` for the number
formats.
"""

from __future__ import annotations

import numpy as np

from mobile_videogpt.engines.loops.rows import add_rows as add_rows
from mobile_videogpt.engines.loops.rows import rms_norm as rms_norm
from mobile_videogpt.engines.loops.scalars import narrow, silu, softplus, widen
from mobile_videogpt.models.compiled_loops import compiled
from mobile_videogpt.models.scan_kernel import LANES
from mobile_videogpt.models.scan_loops import ROWS, advance, wide_vectors

f32 = np.float32


@compiled
def gate(y, z, gated):  # type: ignore[no-untyped-def]
    """`gated = y * silu(z)`; (rows, C) each."""
    wide_vectors()
    for t in range(len(y)):
        row, by, out = y[t], z[t], gated[t]
        for c in range(len(row)):
            out[c] = narrow(out, row[c] * silu(widen(by[c])))


@compiled
def convolve(x, weight, bias, u, start, first, last):  # type: ignore[no-untyped-def]
    """`u = silu(conv(x) + bias)` in both directions, for the rows first to last of u.

    Args:
        x: (rows, C), the rows of the sequence from `start` on: those asked for, three more on
            either side where there are.
        weight: (2, 4, C): what a row takes from the one three steps before it in its direction,
            two, one, and from itself.
        bias: (2, C).
        u: (2, L, C).
        start: see `x`.
        first, last: which rows.
    """
    wide_vectors()
    end = u.shape[1] - 1
    for t in range(first, last):
        for direction in range(2):
            step = 1 - 2 * direction
            t0, t1, t2 = t - 3 * step, t - 2 * step, t - step
            # Beyond the ends there are zeros.
            shares = (
                f32(1.0 if 0 <= t0 <= end else 0.0),
                f32(1.0 if 0 <= t1 <= end else 0.0),
                f32(1.0 if 0 <= t2 <= end else 0.0),
            )
            rows = (
                x[min(max(t0, 0), end) - start],
                x[min(max(t1, 0), end) - start],
                x[min(max(t2, 0), end) - start],
                x[t - start],
            )
            _convolve_row(rows, shares, weight[direction], bias[direction], u[direction, t])


@compiled
def _convolve_row(rows, shares, weight, bias, u):  # type: ignore[no-untyped-def]
    wide_vectors()
    x0, x1, x2, x3 = rows
    s0, s1, s2 = shares
    w0, w1, w2, w3 = weight[0], weight[1], weight[2], weight[3]
    for c in range(len(u)):
        total = bias[c] + w0[c] * (widen(x0[c]) * s0)
        total += w1[c] * (widen(x1[c]) * s1)
        total += w2[c] * (widen(x2[c]) * s2)
        total += w3[c] * widen(x3[c])
        u[c] = narrow(u, silu(total))


@compiled
def scan_both(u, steps, narrow, rank, bias, rates, skip, y, start, end, numbers):  # type: ignore[no-untyped-def]
    """Both directions' scans, added: y (L, C), for the vectors of channels start to end.

    Args:
        u: (2, L, C).
        steps: (2, L, C), step sizes before bias and softplus.
        narrow: (2, L, rank + 2 N), whose last columns are B and C.
        rank: how many columns come before those.
        bias: (2, C), of the step sizes.
        rates: (2, vectors, N, LANES), as `advance` takes them.
        skip: (2, C), the share of u in y.
        y: filled.
        start, end: which vectors.
        numbers: a tuple of N integers.
    """
    length = u.shape[1]
    left, right = start * LANES, end * LANES
    sizes = np.empty((ROWS, right - left), np.float32)
    given = np.empty((ROWS, right - left), np.float32)
    rows = np.empty((ROWS, 2 * rates.shape[2]), np.float32)
    for direction in range(2):
        own, own_bias = rates[direction, start:end], bias[direction, left:right]
        own_skip = skip[direction, left:right]
        states = np.zeros(own.shape, np.float32)
        for before in range(0, length, ROWS):
            count = min(ROWS, length - before)
            for i in range(count):
                t = before + i if direction == 0 else length - 1 - before - i
                own_u = u[direction, t, left:right]
                _prepare_row(steps[direction, t, left:right], own_u, own_bias, sizes[i], given[i])
                _copy_row(narrow[direction, t, rank:], rows[i])
            for vector in range(end - start):
                advance(sizes, given, own, rows, states, vector, count, numbers)
            for i in range(count):
                t = before + i if direction == 0 else length - 1 - before - i
                own_u = u[direction, t, left:right]
                _finish_row(given[i], own_u, own_skip, y[t, left:right], direction == 0)


@compiled
def _prepare_row(steps, u, bias, sizes, given):  # type: ignore[no-untyped-def]
    wide_vectors()
    for c in range(len(sizes)):
        size = softplus(widen(steps[c]) + bias[c])
        sizes[c] = size
        given[c] = size * widen(u[c])


@compiled
def _copy_row(numbers, row):  # type: ignore[no-untyped-def]
    for n in range(len(row)):
        row[n] = widen(numbers[n])


@compiled
def _finish_row(scanned, u, skip, y, is_first):  # type: ignore[no-untyped-def]
    wide_vectors()
    if is_first:
        for c in range(len(y)):
            y[c] = scanned[c] + skip[c] * widen(u[c])
    else:
        for c in range(len(y)):
            y[c] += scanned[c] + skip[c] * widen(u[c])
