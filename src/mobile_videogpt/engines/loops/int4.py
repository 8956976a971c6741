"""Products of 4-bit matrices with a few rows of numbers, for numba; imported where numba is.

The matrices are those of ONNX Runtime's `MatMulNBits`: two weights to a byte, the earlier one in
the lower half, as `value + 8`; 32 or 128 neighbours share a scale. Rows are rounded to 8 bits, 32
neighbours to a scale, as that operator does, and laid out as the weights lie in a byte: even places
first, then odd ones. So both halves of a vector of bytes meet their numbers without being moved,
and reading the weights is all that takes time.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mobile_videogpt.engines.loops.vectors import across, ask_for, call, fused, halves, joined, load
from mobile_videogpt.models.compiled_loops import compiled
from mobile_videogpt.models.scan_loops import wide_vectors

BLOCK = 32  # numbers of the row that share a scale
ROWS = 2  # outputs made side by side: their sums do not wait for one another
# Bytes from what is read to what is asked for by then: the processor by itself looks less far, and
# would read at half the speed of the memory. Measured; half and twice as far are little worse.
AHEAD = 8192

f32, i32, i8 = np.float32, np.int32, np.int8


def instructions() -> str | None:
    """Those of this processor that multiply bytes; None: it has none of the known ones."""
    features = _features()
    if {"avx512vnni", "avx512bw"} <= features:
        return "avx512vnni"
    return next((name for name in ("avxvnni", "avx2") if name in features), None)


def _features() -> set[str]:
    """Of the processor that numba compiles for: this one, unless the user names another."""
    if numba.config.CPU_FEATURES is not None:
        return {name[1:] for name in numba.config.CPU_FEATURES.split(",") if name[:1] == "+"}
    return {name for name, has in binding.get_host_cpu_features().items() if has}


BYTES = 64  # of weights, taken at a time
LANES = BYTES // 4
_BLOCKS = 2 * BYTES // BLOCK  # blocks of the row in a vector

_I32 = ir.IntType(32)
_INDEX = ir.IntType(64)
_WEIGHTS = ir.VectorType(ir.IntType(8), BYTES)
_SUMS = ir.VectorType(_I32, LANES)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
# The same for processors with registers of half the size.
_PAIRS = ir.VectorType(ir.IntType(16), BYTES // 4)
_HALF_SUMS = ir.VectorType(_I32, LANES // 2)


@dataclass(frozen=True)
class _Rows:
    """Pointers to the rounded rows of `round_row`, and from one row to the next."""

    numbers: Any
    corrections: Any
    scales: Any
    width: Any
    """Numbers of a row; corrections and scales are an eighth of that."""


class _Product:
    """Writes the loop over the vectors of `ROWS` outputs and of some rows as LLVM code.

    Args:
        builder: of the calling function.
        rows: what the matrix is multiplied with.
        places: which of them.
        per_vector: how many scales of weights a vector has.
    """

    def __init__(self, builder: Any, rows: _Rows, places: list[Any], per_vector: int) -> None:
        self.builder = builder
        self.rows = rows
        self.starts = [builder.mul(place, rows.width) for place in places]
        self.per_vector = per_vector

    def emit(self, weights: list[Any], scales: list[Any], vectors: Any) -> list[list[Any]]:
        """The sums, by output and row."""
        builder = self.builder
        sums = [[cgutils.alloca_once(builder, _FLOATS) for _ in self.starts] for _ in weights]
        for total in chain.from_iterable(sums):
            builder.store(ir.Constant(_FLOATS, [0.0] * LANES), total)
        with cgutils.for_range(builder, vectors) as loop:
            self._add_vector(loop.index, weights, scales, sums)
        return [[across(builder, builder.load(total)) for total in row] for row in sums]

    def _add_vector(
        self, index: Any, weights: list[Any], scales: list[Any], sums: list[list[Any]]
    ) -> None:
        builder = self.builder
        rows = [self._row(index, start) for start in self.starts]
        first = builder.mul(index, _INDEX(BYTES))
        first_scale = builder.mul(index, _INDEX(self.per_vector))
        ahead = AHEAD // BYTES * self.per_vector
        for own, own_scales, totals in zip(weights, scales, sums, strict=True):
            both = load(builder, own, first, _WEIGHTS)
            ask_for(builder, own, builder.add(first, _INDEX(AHEAD)))
            ask_for(builder, own_scales, builder.add(first_scale, _INDEX(ahead)))
            low = builder.and_(both, ir.Constant(_WEIGHTS, [15] * BYTES))
            high = builder.lshr(both, ir.Constant(_WEIGHTS, [4] * BYTES))
            spread = self._spread(own_scales, first_scale)
            for (even, odd, correction, row_scale), total in zip(rows, totals, strict=True):
                product = self._multiply(correction, low, even, high, odd)
                scale = builder.fmul(spread, row_scale)
                added = fused(builder, builder.sitofp(product, _FLOATS), scale, builder.load(total))
                builder.store(added, total)

    def _row(self, index: Any, start: Any) -> tuple[Any, Any, Any, Any]:
        """One vector of a row: even and odd places, corrections, scales."""
        builder, rows = self.builder, self.rows
        place = builder.add(start, builder.mul(index, _INDEX(2 * BYTES)))
        lanes = builder.lshr(place, _INDEX(3))  # an eighth
        return (
            load(builder, rows.numbers, place, _WEIGHTS),
            load(builder, rows.numbers, builder.add(place, _INDEX(BYTES)), _WEIGHTS),
            load(builder, rows.corrections, lanes, _SUMS),
            load(builder, rows.scales, lanes, _FLOATS),
        )

    def _multiply(self, start: Any, low: Any, even: Any, high: Any, odd: Any) -> Any:
        """Bytes times signed bytes, four products added in each lane."""
        builder = self.builder
        if instructions() == "avx512vnni":
            for pair in ((low, even), (high, odd)):
                words = [builder.bitcast(bytes_, _SUMS) for bytes_ in pair]
                start = call(builder, "llvm.x86.avx512.vpdpbusd.512", _SUMS, start, *words)
            return start
        vectors = [halves(builder, vector) for vector in (start, low, even, high, odd)]
        multiply = self._half_vnni if instructions() == "avxvnni" else self._half_avx2
        return joined(builder, *(multiply(*half) for half in zip(*vectors, strict=True)))

    def _half_vnni(self, start: Any, low: Any, even: Any, high: Any, odd: Any) -> Any:
        for pair in ((low, even), (high, odd)):
            words = [self.builder.bitcast(bytes_, _HALF_SUMS) for bytes_ in pair]
            start = call(self.builder, "llvm.x86.avx512.vpdpbusd.256", _HALF_SUMS, start, *words)
        return start

    def _half_avx2(self, start: Any, low: Any, even: Any, high: Any, odd: Any) -> Any:
        # At most 2 * 2 * 15 * 127: it fits into 16 bits.
        parts = [
            call(self.builder, "llvm.x86.avx2.pmadd.ub.sw", _PAIRS, *pair)
            for pair in ((low, even), (high, odd))
        ]
        ones = ir.Constant(_PAIRS, [1] * _PAIRS.count)
        pairs = self.builder.add(*parts)
        sums = call(self.builder, "llvm.x86.avx2.pmadd.wd", _HALF_SUMS, pairs, ones)
        return self.builder.add(start, sums)

    def _spread(self, scales: Any, first: Any) -> Any:
        """The scales of a vector of weights, each in the lanes that it is for."""
        kind = ir.VectorType(ir.FloatType(), self.per_vector)
        few = load(self.builder, scales, first, kind)
        share = LANES // self.per_vector
        lanes = ir.Constant(_SUMS, [lane // share for lane in range(LANES)])
        return self.builder.shuffle_vector(few, ir.Constant(kind, ir.Undefined), lanes)


@intrinsic
def _multiply_rows(
    typing_context: Any,
    matrix: Any,
    rows: Any,
    row: Any,
    per_vector: Any,
    out: Any,
    output: Any,
    together: Any,
) -> Any:
    """`out[i, j]` for `ROWS` outputs j from `output` on and some rows i from `row` on.

    Args:
        matrix, rows, per_vector, out: as for `multiply`.
        row, output: the first.
        together: a tuple with as many integers as there are rows.
    """
    signature = types.void(matrix, rows, types.int64, per_vector, out, types.int64, together)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        matrix, rows, out = (
            _array(context, builder, signature.args[i], arguments[i]) for i in (0, 1, 4)
        )
        weights, scales, vectors = (
            builder.load(builder.gep(matrix.data, [_INDEX(i)])) for i in range(3)
        )
        number = signature.args[3].count
        places = [builder.add(arguments[2], _INDEX(i)) for i in range(signature.args[6].count)]
        outputs = [builder.add(arguments[5], _INDEX(i)) for i in range(ROWS)]
        stride = builder.mul(vectors, _INDEX(BYTES))
        scale_stride = builder.mul(vectors, _INDEX(number))
        bytes_ = builder.inttoptr(weights, ir.IntType(8).as_pointer())
        floats = builder.inttoptr(scales, ir.FloatType().as_pointer())
        sums = _Product(builder, rows, places, number).emit(
            [builder.gep(bytes_, [builder.mul(o, stride)]) for o in outputs],
            [builder.gep(floats, [builder.mul(o, scale_stride)]) for o in outputs],
            vectors,
        )
        width = cgutils.unpack_tuple(builder, out.shape, 2)[1]
        for of_output, output in zip(sums, outputs, strict=True):
            for total, place in zip(of_output, places, strict=True):
                where = builder.add(builder.mul(place, width), output)
                builder.store(total, builder.gep(out.data, [where]))
        return context.get_dummy_value()

    return signature, generate


def _array(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """An array, or the three of `round_row` as `_Rows`."""
    if not isinstance(kind, types.BaseTuple):
        return context.make_array(kind)(context, builder, value)
    parts = [
        context.make_array(part)(context, builder, builder.extract_value(value, i))
        for i, part in enumerate(kind)
    ]
    width = cgutils.unpack_tuple(builder, parts[0].shape, 2)[1]
    return _Rows(parts[0].data, parts[1].data, parts[2].data, width)


@compiled
def multiply(matrix, rows, out, first, last, per_vector):  # type: ignore[no-untyped-def]
    """`out[:, first:last]` = those outputs of a matrix for each of some rows.

    The weights of an output are read once and stay in the cache while all rows pass over them.

    Args:
        matrix: (addresses of weights and of scales, vectors in a row of them) int64.
        rows: the three arrays of `round_row`.
        out: (rows, outputs) float32, contiguous.
        first, last: a multiple of `ROWS` apart.
        per_vector: a tuple with as many integers as a vector of weights has scales.
    """
    whole = len(out) // 4 * 4
    for output in range(first, last, ROWS):
        for row in range(0, whole, 4):
            _multiply_rows(matrix, rows, row, per_vector, out, output, (0, 0, 0, 0))
        for row in range(whole, len(out)):
            _multiply_rows(matrix, rows, row, per_vector, out, output, (0,))


@compiled
def round_row(x, rows, row, first, last):  # type: ignore[no-untyped-def]
    """Round the blocks first to last of x to 8 bits, as `multiply` wants them.

    Args:
        x: (inputs,) float32.
        rows: of which one is filled: numbers (rows, inputs) int8; corrections (rows, inputs / 8)
            int32, which take away what the weights' offset of 8 adds; scales (rows, inputs / 8)
            float32.
        row: which.
        first, last: which blocks of `BLOCK` numbers.
    """
    wide_vectors()
    numbers, corrections, scales = rows[0][row], rows[1][row], rows[2][row]
    for block in range(first, last):
        own = x[block * BLOCK : (block + 1) * BLOCK]
        largest = f32(0.0)
        for c in range(BLOCK):
            largest = max(largest, abs(own[c]))
        factor = f32(127.0) / largest if largest > f32(0.0) else f32(0.0)
        vector, part = block // _BLOCKS, block % _BLOCKS
        even = vector * 2 * BYTES + part * (BLOCK // 2)
        odd = even + BYTES
        for c in range(BLOCK // 2):
            numbers[even + c] = i8(_round(own[2 * c] * factor))
            numbers[odd + c] = i8(_round(own[2 * c + 1] * factor))
        lane = vector * LANES + part * 4
        for share in range(4):
            total = i32(0)
            for c in range(4):
                total += i32(numbers[even + 4 * share + c]) + i32(numbers[odd + 4 * share + c])
            corrections[lane + share] = -8 * total
            scales[lane + share] = largest / f32(127.0)


@numba.njit(fastmath=False, inline="always")
def _round(number):  # type: ignore[no-untyped-def]
    # Adding so large a number rounds: the whole part is in the sum's lowest bits.
    return i32(f32(number + f32(12582912.0)).view(i32) - i32(0x4B400000))
