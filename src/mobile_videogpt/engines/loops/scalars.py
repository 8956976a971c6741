"""Functions of single numbers, for loops that numba compiles; they become part of the loop.

Not for loops whose sums may be made in any order (`fastmath=True`): `exp` rounds by adding a large
number and taking it away again, which such a loop's compiler would leave out.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload

from mobile_videogpt.models.compiled_loops import OPTIONS
from mobile_videogpt.models.scan_loops import EXP2, LEAST_EXPONENT, MAGIC

f32, i32 = np.float32, np.int32
_LOG2E = f32(1.44269504)
_MAGIC, _LEAST, _ONE = f32(MAGIC), f32(LEAST_EXPONENT), f32(1.0)
_E1, _E2, _E3, _E4, _E5 = (f32(coefficient) for coefficient in EXP2)
# log(1 + e) over e for 0 <= e <= 1; the relative error is 2e-7.
_L0, _L1, _L2, _L3 = f32(0.999999806), f32(-0.499974051), f32(0.332754753), f32(-0.244954357)
_L4, _L5, _L6, _L7 = f32(0.177451639), f32(-0.107680576), f32(0.0440888043), f32(-0.00853897205)


def widen(number: Any) -> Any:
    """A number of an activation as float32."""
    raise NotImplementedError


@overload(widen, inline="always")
def _widen_typed(number):  # type: ignore[no-untyped-def]
    if isinstance(number, types.Float):
        return lambda number: number
    return lambda number: i32(i32(number) << i32(16)).view(f32)


def narrow(array: Any, number: Any) -> Any:
    """A float32 as the array keeps it: rounded to the nearest bfloat16, ties to even."""
    raise NotImplementedError


@overload(narrow, inline="always")
def _narrow_typed(array, number):  # type: ignore[no-untyped-def]
    if isinstance(array.dtype, types.Float):
        return lambda array, number: number

    def rounded(array, number):  # type: ignore[no-untyped-def]
        bits = f32(number).view(i32)
        return np.int16((bits + i32(0x7FFF) + ((bits >> i32(16)) & i32(1))) >> i32(16))

    return rounded


@numba.njit(fastmath=OPTIONS["fastmath"], inline="always")
def exp(x):  # type: ignore[no-untyped-def]
    """`e^x` of a float32, least of all numbers 2^-126; the relative error is 1e-7."""
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
def silu(x):  # type: ignore[no-untyped-def]
    """`x / (1 + e^-x)`."""
    e = exp(-abs(x))  # at most 1: nothing overflows
    return x * (_ONE if x >= 0 else e) / (_ONE + e)


@numba.njit(fastmath=OPTIONS["fastmath"], inline="always")
def softplus(x):  # type: ignore[no-untyped-def]
    """`log(1 + e^x)`."""
    e = exp(-abs(x))
    p = _L7
    p = p * e + _L6
    p = p * e + _L5
    p = p * e + _L4
    p = p * e + _L3
    p = p * e + _L2
    p = p * e + _L1
    p = p * e + _L0
    return max(x, f32(0.0)) + p * e
