"""The loops of VideoMamba's blocks around its matrix products, for numba; imported where numba is.

Each is one pass over rows that an earlier product has left in the cache. Activations between the
products may be bfloat16, which numba does not know: such arrays are viewed as 16-bit integers.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload

from mobile_videogpt.models.compiled_loops import OPTIONS, compiled
from mobile_videogpt.models.scan_kernel import LANES
from mobile_videogpt.models.scan_loops import (
    EXP2,
    LEAST_EXPONENT,
    MAGIC,
    ROWS,
    advance,
    wide_vectors,
)

f32, i32 = np.float32, np.int32
_LOG2E = f32(1.44269504)
_MAGIC, _LEAST, _ONE = f32(MAGIC), f32(LEAST_EXPONENT), f32(1.0)
_E1, _E2, _E3, _E4, _E5 = (f32(coefficient) for coefficient in EXP2)
# log(1 + e) over e for 0 <= e <= 1; the relative error is 2e-7.
_L0, _L1, _L2, _L3 = f32(0.999999806), f32(-0.499974051), f32(0.332754753), f32(-0.244954357)
_L4, _L5, _L6, _L7 = f32(0.177451639), f32(-0.107680576), f32(0.0440888043), f32(-0.00853897205)


def _widen(number: Any) -> Any:
    raise NotImplementedError


@overload(_widen, inline="always")
def _widen_typed(number):  # type: ignore[no-untyped-def]
    """A number of an activation as float32."""
    if isinstance(number, types.Float):
        return lambda number: number
    return lambda number: i32(i32(number) << i32(16)).view(f32)


def _narrow(array: Any, number: Any) -> Any:
    raise NotImplementedError


@overload(_narrow, inline="always")
def _narrow_typed(array, number):  # type: ignore[no-untyped-def]
    """A float32 as the array keeps it: rounded to the nearest bfloat16, ties to even."""
    if isinstance(array.dtype, types.Float):
        return lambda array, number: number

    def rounded(array, number):  # type: ignore[no-untyped-def]
        bits = f32(number).view(i32)
        return np.int16((bits + i32(0x7FFF) + ((bits >> i32(16)) & i32(1))) >> i32(16))

    return rounded


@numba.njit(fastmath=OPTIONS["fastmath"], inline="always")
def _exp(x):  # type: ignore[no-untyped-def]
    x = max(x * _LOG2E, _LEAST)
    shifted = x + _MAGIC
    x = x - (shifted - _MAGIC)
    p = _E5
    p = p * x + _E4
    p = p * x + _E3
    p = p * x + _E2
    p = p * x + _E1
    p = p * x + _ONE
    return i32(f32(p).view(i32) + i32(f32(shifted).view(i32) << i32(23))).view(f32)


@numba.njit(fastmath=OPTIONS["fastmath"], inline="always")
def _silu(x):  # type: ignore[no-untyped-def]
    e = _exp(-abs(x))  # at most 1: nothing overflows
    return x * (_ONE if x >= 0 else e) / (_ONE + e)


@numba.njit(fastmath=OPTIONS["fastmath"], inline="always")
def _softplus(x):  # type: ignore[no-untyped-def]
    e = _exp(-abs(x))
    p = _L7
    p = p * e + _L6
    p = p * e + _L5
    p = p * e + _L4
    p = p * e + _L3
    p = p * e + _L2
    p = p * e + _L1
    p = p * e + _L0
    return max(x, f32(0.0)) + p * e


@compiled
def add_rows(hidden, product):  # type: ignore[no-untyped-def]
    """`hidden += product`; (rows, D) each."""
    wide_vectors()
    for t in range(len(hidden)):
        row, added = hidden[t], product[t]
        for c in range(len(row)):
            row[c] += _widen(added[c])


@compiled(fastmath=True)  # for a sum in any order
def rms_norm(hidden, weight, epsilon, normed):  # type: ignore[no-untyped-def]
    """`normed = hidden / rms(hidden) * weight`, row by row."""
    wide_vectors()
    for t in range(len(hidden)):
        row, out = hidden[t], normed[t]
        total = f32(0.0)
        for c in range(len(row)):
            total += row[c] * row[c]
        factor = _ONE / np.sqrt(total / f32(len(row)) + f32(epsilon))
        for c in range(len(row)):
            out[c] = _narrow(out, row[c] * factor * weight[c])


@compiled
def gate(y, z, gated):  # type: ignore[no-untyped-def]
    """`gated = y * silu(z)`; (rows, C) each."""
    wide_vectors()
    for t in range(len(y)):
        row, by, out = y[t], z[t], gated[t]
        for c in range(len(row)):
            out[c] = _narrow(out, row[c] * _silu(_widen(by[c])))


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
        total = bias[c] + w0[c] * (_widen(x0[c]) * s0)
        total += w1[c] * (_widen(x1[c]) * s1)
        total += w2[c] * (_widen(x2[c]) * s2)
        total += w3[c] * _widen(x3[c])
        u[c] = _narrow(u, _silu(total))


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
        size = _softplus(_widen(steps[c]) + bias[c])
        sizes[c] = size
        given[c] = size * _widen(u[c])


@compiled
def _copy_row(numbers, row):  # type: ignore[no-untyped-def]
    for n in range(len(row)):
        row[n] = _widen(numbers[n])


@compiled
def _finish_row(scanned, u, skip, y, is_first):  # type: ignore[no-untyped-def]
    wide_vectors()
    if is_first:
        for c in range(len(y)):
            y[c] = scanned[c] + skip[c] * _widen(u[c])
    else:
        for c in range(len(y)):
            y[c] += scanned[c] + skip[c] * _widen(u[c])
