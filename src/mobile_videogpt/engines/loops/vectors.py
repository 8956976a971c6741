"""What loops in LLVM's own vectors are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

_INT = ir.IntType(32)


def load(builder: Any, data: Any, place: Any, kind: Any) -> Any:
    """A vector that begins at a number of an array, wherever that lies."""
    pointer = builder.bitcast(builder.gep(data, [place]), kind.as_pointer())
    loaded = builder.load(pointer)
    loaded.align = 1
    return loaded


def same(builder: Any, data: Any, place: Any, lanes: int) -> Any:
    """One number of an array in all lanes."""
    number = builder.load(builder.gep(data, [place]))
    nothing = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    return _lanes(builder, builder.insert_element(nothing, number, _INT(0)), nothing, [0] * lanes)


def call(builder: Any, name: str, kind: Any, *arguments: Any) -> Any:
    """One of LLVM's own functions."""
    signature = ir.FunctionType(kind, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(function, arguments)


def fused(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """`x * y + z` of float32 vectors, rounded once."""
    return call(builder, f"llvm.fma.v{x.type.count}f32", x.type, x, y, z)


def halves(builder: Any, vector: Any) -> tuple[Any, Any]:
    """The lower and the upper lanes."""
    count = vector.type.count
    low, high = (_lanes(builder, vector, vector, range(i, i + count // 2)) for i in (0, count // 2))
    return low, high


def joined(builder: Any, low: Any, high: Any) -> Any:
    """Two vectors as one."""
    return _lanes(builder, low, high, range(2 * low.type.count))


def _lanes(builder: Any, low: Any, high: Any, which: Sequence[int]) -> Any:
    kind = ir.VectorType(_INT, len(which))
    return builder.shuffle_vector(low, high, ir.Constant(kind, list(which)))


def across(builder: Any, vector: Any) -> Any:
    """The sum of a vector's lanes, whose number is a power of two."""
    while vector.type.count > 1:
        vector = builder.fadd(*halves(builder, vector))
    return builder.extract_element(vector, _INT(0))


def ask_for(builder: Any, data: Any, place: Any) -> None:
    """Ask for memory that is wanted soon; beyond the end nothing happens."""
    pointer = builder.bitcast(builder.gep(data, [place]), ir.IntType(8).as_pointer())
    # To read, into all caches, data and not code.
    call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, _INT(0), _INT(3), _INT(1))
