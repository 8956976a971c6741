"""The selective scan's recurrence for numba, sixteen channels in step; imported where numba is.

A state lives in a register from its first row to its last: `advance` is written in LLVM's own
vectors, because a compiler that is given loops keeps the states in memory, at twice the time. What
surrounds it is plain numba, whose loops `wide_vectors` lets use the processor's widest registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .compiled_loops import OPTIONS as OPTIONS
from .compiled_loops import compiled
from .scan_kernel import LANES

ROWS = 64  # rows whose inputs stay in the L2 cache while all channels pass over them

f32, i32 = np.float32, np.int32
# Adding so large a number rounds: the whole part is in the sum's lowest bits.
MAGIC = 12582912.0
LEAST_EXPONENT = -126.0
# 2^x - 1 over x for -1/2 <= x <= 1/2, lowest power first; the relative error of 2^x is 1e-7.
EXP2 = (0.693146978, 0.240222421, 0.0555073372, 0.00967151321, 0.00132647345)

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INTEGERS = ir.VectorType(ir.IntType(32), LANES)
_INDEX = ir.IntType(64)


@intrinsic
def wide_vectors(typing_context: Any) -> Any:
    """Let the loops of the calling function use 512-bit registers, where there are any.

    LLVM's default of 256 bits spares the clock of processors that are no longer common.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # llvmlite knows attributes that are single words only.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def advance(
    typing_context: Any,
    sizes: Any,
    given: Any,
    rates: Any,
    rows: Any,
    states: Any,
    first: Any,
    count: Any,
    length: Any,
) -> Any:
    """`h = 2^(size rate) h + given B`, `given = <C, h>`, for one vector of channels.

    Args:
        sizes: (rows, channels), float32, contiguous, as all of them are.
        given: (rows, channels), replaced by the output.
        rates: (vectors, N, LANES), the decay rates times log2(e).
        rows: (rows, 2 N), B and C of each row.
        states: (vectors, N, LANES), where the last call stopped; updated.
        first: the vector, counted in `rates`; its channels begin at first * LANES.
        count: how many rows.
        length: a tuple of N integers. Its type tells N, which the code is unrolled for.
    """
    signature = types.void(sizes, given, rates, rows, states, types.int64, types.int64, length)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = [
            context.make_array(array)(context, builder, value)
            for array, value in zip(signature.args[:5], arguments[:5], strict=True)
        ]
        width = cgutils.unpack_tuple(builder, arrays[0].shape, 2)[1]
        number = signature.args[7].count
        _Recurrence(builder, [a.data for a in arrays], width, number).emit(*arguments[5:7])
        return context.get_dummy_value()

    return signature, generate


class _Recurrence:
    """Writes the loop over rows of `advance` as LLVM code."""

    def __init__(self, builder: Any, data: list[Any], width: Any, number: int) -> None:
        self.builder = builder
        self.sizes, self.given, self.rates, self.rows, self.states = data
        self.width = width
        self.number = number
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 2)
        self._max = cgutils.get_or_insert_function(builder.module, kind, f"llvm.maxnum.v{LANES}f32")

    def emit(self, first: Any, count: Any) -> None:
        """The states are variables of the function: LLVM gives each a register."""
        builder = self.builder
        home = builder.mul(first, _INDEX(self.number * LANES))
        places = [builder.add(home, _INDEX(n * LANES)) for n in range(self.number)]
        states = [cgutils.alloca_once(builder, _VECTOR) for _ in places]
        for state, place in zip(states, places, strict=True):
            builder.store(self._load(self.states, place), state)
        column = builder.mul(first, _INDEX(LANES))
        with cgutils.for_range(builder, count) as loop:
            place = builder.add(builder.mul(loop.index, self.width), column)
            size, given = self._load(self.sizes, place), self._load(self.given, place)
            out = self._step(size, given, states, places, loop.index)
            self._store(out, self.given, place)
        for state, place in zip(states, places, strict=True):
            self._store(builder.load(state), self.states, place)

    def _step(self, size: Any, given: Any, states: list[Any], places: list[Any], row: Any) -> Any:
        builder = self.builder
        sums: list[Any] = [_constant(0.0)] * 4  # four, so that none waits for the one before
        start = builder.mul(row, _INDEX(2 * self.number))
        for n, (state, place) in enumerate(zip(states, places, strict=True)):
            decay = self._exp2(size, self._load(self.rates, place))
            into = self._same(builder.add(start, _INDEX(n)))
            back = self._same(builder.add(start, _INDEX(self.number + n)))
            h = self._multiply_add(decay, builder.load(state), builder.fmul(given, into))
            builder.store(h, state)
            sums[n % 4] = self._multiply_add(h, back, sums[n % 4])
        return builder.fadd(builder.fadd(sums[0], sums[1]), builder.fadd(sums[2], sums[3]))

    def _exp2(self, size: Any, rate: Any) -> Any:
        """`2^(size rate)`, 0 where it is less than any normal number."""
        builder = self.builder
        x = builder.call(self._max, [_constant(LEAST_EXPONENT), builder.fmul(size, rate)])
        shifted = builder.fadd(x, _constant(MAGIC))
        part = builder.fsub(x, builder.fsub(shifted, _constant(MAGIC)))
        power = _constant(EXP2[-1])
        for coefficient in (*EXP2[-2::-1], 1.0):
            power = self._multiply_add(power, part, _constant(coefficient))
        exponent = builder.shl(builder.bitcast(shifted, _INTEGERS), _INTEGERS([23] * LANES))
        return builder.bitcast(builder.add(builder.bitcast(power, _INTEGERS), exponent), _VECTOR)

    def _multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        return self.builder.call(self._fma, [x, y, z])

    def _load(self, data: Any, place: Any) -> Any:
        loaded = self.builder.load(self._pointer(data, place))
        loaded.align = 4
        return loaded

    def _store(self, value: Any, data: Any, place: Any) -> None:
        self.builder.store(value, self._pointer(data, place)).align = 4

    def _pointer(self, data: Any, place: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(data, [place]), _VECTOR.as_pointer())

    def _same(self, place: Any) -> Any:
        """One number of `rows` in all lanes."""
        builder, nothing = self.builder, ir.Constant(_VECTOR, ir.Undefined)
        number = builder.load(builder.gep(self.rows, [place]))
        vector = builder.insert_element(nothing, number, ir.IntType(32)(0))
        return builder.shuffle_vector(vector, nothing, _INTEGERS([0] * LANES))


def _constant(value: float) -> Any:
    return ir.Constant(_VECTOR, [float(f32(value))] * LANES)


@compiled
def scan_channels(u, delta, rates, B, C, y, start, end, numbers):  # type: ignore[no-untyped-def]
    """Fill y (length, batch, channels), which may be `delta`, for the vectors start to end.

    Channels are padded to whole vectors here: whoever calls needs no multiple of LANES.
    """
    wide_vectors()
    length, batch, channels = u.shape
    number = rates.shape[1]
    left, width = start * LANES, (end - start) * LANES
    count = min(width, channels - left)
    own = rates[start:end]
    sizes = np.zeros((ROWS, width), np.float32)
    given = np.zeros((ROWS, width), np.float32)
    rows = np.zeros((ROWS, 2 * number), np.float32)
    states = np.zeros(own.shape, np.float32)
    for b in range(batch):
        states[:] = 0
        for first in range(0, length, ROWS):
            steps = min(ROWS, length - first)
            for i in range(steps):
                t = first + i
                for c in range(count):
                    sizes[i, c] = delta[t, b, left + c]
                    given[i, c] = sizes[i, c] * u[t, b, left + c]
                for n in range(number):
                    rows[i, n] = B[t, b, n]
                    rows[i, number + n] = C[t, b, n]
            for vector in range(end - start):
                advance(sizes, given, own, rows, states, vector, steps, numbers)
            for i in range(steps):
                for c in range(count):
                    y[first + i, b, left + c] = given[i, c]
