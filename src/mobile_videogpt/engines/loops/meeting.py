"""Threads that run one compiled function together: each its share, and where they meet."""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mobile_videogpt.models.compiled_loops import compiled

_PATIENCE = 4096  # looks for the others before the core is offered to them


@intrinsic
def _add_atomically(typing_context: Any, array: Any, place: Any, number: Any) -> Any:
    """Add to an int64 that other threads add to; what it was before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [arguments[1]]), arguments[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), generate


@intrinsic
def _look(typing_context: Any, array: Any, place: Any) -> Any:
    """An int64 that other threads change."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load_atomic(builder.gep(data, [arguments[1]]), "acquire", 8)

    return types.int64(array, types.int64), generate


@intrinsic
def _offer_core(typing_context: Any) -> Any:
    """Let another thread run on this core, where the system has a call for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if sys.platform != "win32":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


@compiled
def meet(meeting, size):  # type: ignore[no-untyped-def]
    """Wait until `size` threads are here; meeting: one int64, 0 at first."""
    if size == 1:
        return
    # The count only grows: the round that a thread is in follows from what it was.
    before = _add_atomically(meeting, 0, 1)
    goal = (before // size + 1) * size
    looks = 0
    while _look(meeting, 0) < goal:
        looks += 1
        if looks % _PATIENCE == 0:
            _offer_core()


@compiled
def share(count, unit, rank, size):  # type: ignore[no-untyped-def]
    """This thread's part of `count`, in whole units."""
    units = (count + unit - 1) // unit
    return min(count, units * rank // size * unit), min(count, units * (rank + 1) // size * unit)
