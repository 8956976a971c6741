"""One token's attention to the rows of a cache, for numba; imported where numba is.

All queries that share a head of keys look at a row while it is in registers. As in `scan_loops`,
the loops are written in LLVM's own vectors: a compiler that is given plain ones fetches everything
from memory again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mobile_videogpt.engines.loops.vectors import across, ask_for, fused, load, same
from mobile_videogpt.models.scan_kernel import LANES

ROWS_AHEAD = 32  # from the row that is read to the one that is asked for by then

_FLOAT = ir.FloatType()
_INDEX = ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)


class _Rows:
    """Writes a loop over rows of a cache that lie one after the other.

    Args:
        builder: of the calling function.
        data: pointer to the first row.
        width: of a row, a multiple of `LANES`.
    """

    def __init__(self, builder: Any, data: Any, width: int) -> None:
        self.builder, self.data, self.width = builder, data, width

    def each(self, first: Any, last: Any, use: Callable[[Any, list[Any]], None]) -> None:
        """Call `use` with every row's number, counted from `first`, and its vectors."""
        builder = self.builder
        with cgutils.for_range(builder, builder.sub(last, first)) as loop:
            row = builder.mul(builder.add(first, loop.index), _INDEX(self.width))
            later = builder.add(row, _INDEX(ROWS_AHEAD * self.width))
            places = [_INDEX(column) for column in range(0, self.width, LANES)]
            for place in places:
                ask_for(builder, self.data, builder.add(later, place))
            vectors = [load(builder, self.data, builder.add(row, p), _VECTOR) for p in places]
            use(loop.index, vectors)


def _arrays(context: Any, builder: Any, signature: Any, arguments: Any, *which: int) -> list[Any]:
    return [context.make_array(signature.args[i])(context, builder, arguments[i]) for i in which]


def _stride(builder: Any, array: Any) -> Any:
    """From one row of a two-dimensional float32 array to the next, in numbers."""
    return builder.sdiv(cgutils.unpack_tuple(builder, array.strides, 2)[0], _INDEX(4))


@intrinsic
def score_rows(
    typing_context: Any,
    queries: Any,
    keys: Any,
    first: Any,
    last: Any,
    scores: Any,
    group: Any,
    numbers: Any,
) -> Any:
    """`scores[i, r - first] = queries[i] @ keys[r]` for the rows r from first to last.

    Args:
        queries: (queries, width) float32, contiguous.
        keys: (rows, width) float32, contiguous.
        first, last: which rows.
        scores: (queries, at least last - first) float32.
        group, numbers: tuples of as many integers as there are queries, and as a row is wide: their
            types tell what the code is unrolled for.
    """
    signature = types.void(queries, keys, types.int64, types.int64, scores, group, numbers)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        queries, keys, scores = _arrays(context, builder, signature, arguments, 0, 1, 4)
        count, width = signature.args[5].count, signature.args[6].count
        stride = _stride(builder, scores)

        def use(row: Any, key: list[Any]) -> None:
            for i in range(count):
                total = ir.Constant(_VECTOR, [0.0] * LANES)
                for column, part in enumerate(key):
                    place = _INDEX(i * width + column * LANES)
                    query = load(builder, queries.data, place, _VECTOR)
                    total = fused(builder, query, part, total)
                place = builder.add(builder.mul(_INDEX(i), stride), row)
                builder.store(across(builder, total), builder.gep(scores.data, [place]))

        _Rows(builder, keys.data, width).each(arguments[2], arguments[3], use)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def gather_rows(
    typing_context: Any,
    weights: Any,
    values: Any,
    first: Any,
    last: Any,
    out: Any,
    group: Any,
    numbers: Any,
) -> Any:
    """`out[i] = sum of weights[i, r - first] * values[r]` over the rows r from first to last.

    Args:
        weights: (queries, at least last - first) float32.
        values: (rows, width) float32, contiguous.
        first, last: which rows.
        out: (queries, at least width) float32.
        group, numbers: as for `score_rows`.
    """
    signature = types.void(weights, values, types.int64, types.int64, out, group, numbers)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weights, values, out = _arrays(context, builder, signature, arguments, 0, 1, 4)
        count, width = signature.args[5].count, signature.args[6].count
        sums = [
            [cgutils.alloca_once(builder, _VECTOR) for _ in range(0, width, LANES)]
            for _ in range(count)
        ]
        for total in chain.from_iterable(sums):
            builder.store(ir.Constant(_VECTOR, [0.0] * LANES), total)
        stride = _stride(builder, weights)

        def use(row: Any, value: list[Any]) -> None:
            for i in range(count):
                place = builder.add(builder.mul(_INDEX(i), stride), row)
                weight = same(builder, weights.data, place, LANES)
                for total, part in zip(sums[i], value, strict=True):
                    builder.store(fused(builder, weight, part, builder.load(total)), total)

        _Rows(builder, values.data, width).each(arguments[2], arguments[3], use)
        out_stride = _stride(builder, out)
        for i in range(count):
            start = builder.mul(_INDEX(i), out_stride)
            for column, total in enumerate(sums[i]):
                place = builder.gep(out.data, [builder.add(start, _INDEX(column * LANES))])
                pointer = builder.bitcast(place, _VECTOR.as_pointer())
                builder.store(builder.load(total), pointer).align = 4
        return context.get_dummy_value()

    return signature, generate
