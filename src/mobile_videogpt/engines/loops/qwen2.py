"""Qwen2 reading one token, as one compiled function for numba; imported where numba is.

An operator at a time, most of a token's time goes into what lies between the products: calls,
threads that wake up and wait, rows that are written and read again. Here every thread runs this
function from the first layer to the last. Each makes its share of every product's outputs, and
they meet only where one needs what another made: five times in a layer. What is small (norms, the
row's rounding, the sum of residuals) each does for itself.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mobile_videogpt.engines.loops.attention import gather_rows, score_rows
from mobile_videogpt.engines.loops.int4 import BLOCK, ROWS, multiply, round_row
from mobile_videogpt.engines.mamba_loops import _exp, _silu
from mobile_videogpt.models.compiled_loops import compiled
from mobile_videogpt.models.scan_loops import wide_vectors

f32, i64 = np.float32, np.int64
_PATIENCE = 4096  # looks at the clock of the others before the core is offered to them
_LEAST = f32(-1e30)


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
def _meet(meeting, size):  # type: ignore[no-untyped-def]
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
def _share(count, unit, rank, size):  # type: ignore[no-untyped-def]
    """This thread's part of `count`, in whole units."""
    units = (count + unit - 1) // unit
    return min(count, units * rank // size * unit), min(count, units * (rank + 1) // size * unit)


@compiled(fastmath=True)  # for a sum in any order
def _normalise(hidden, weight, epsilon, out):  # type: ignore[no-untyped-def]
    """`out = hidden / rms(hidden) * weight`."""
    wide_vectors()
    total = f32(0.0)
    for c in range(len(hidden)):
        total += hidden[c] * hidden[c]
    factor = f32(1.0) / np.sqrt(total / f32(len(hidden)) + epsilon)
    for c in range(len(hidden)):
        out[c] = hidden[c] * factor * weight[c]


@compiled
def _rotate(head, cosines, sines):  # type: ignore[no-untyped-def]
    """Rotary position of one head, in place; the first half's numbers pair with the second's."""
    half = len(cosines)
    for c in range(half):
        a, b = head[c], head[half + c]
        head[c] = a * cosines[c] - b * sines[c]
        head[half + c] = b * cosines[c] + a * sines[c]


@compiled
def _weigh(scores, largest, scale):  # type: ignore[no-untyped-def]
    """Exponentials of the scores times `scale`, the largest as 1, in place; their sum."""
    wide_vectors()
    for i in range(len(scores)):
        scores[i] = _exp((scores[i] - largest) * scale)
    return _sum(scores)


@compiled(fastmath=True)  # for a sum in any order
def _largest(numbers):  # type: ignore[no-untyped-def]
    wide_vectors()
    largest = _LEAST
    for number in numbers:
        largest = max(largest, number)
    return largest


@compiled(fastmath=True)  # for a sum in any order
def _sum(numbers):  # type: ignore[no-untyped-def]
    wide_vectors()
    total = f32(0.0)
    for number in numbers:
        total += number
    return total


@compiled
def _attend(queries, keys, values, first, last, scale, scores, part, group, numbers):  # type: ignore[no-untyped-def]
    """This thread's rows of one head of keys, for all queries that read it.

    part: (queries, width + 2): the weighted sum of values, the weights' sum, the largest score.
    """
    width = len(numbers)
    score_rows(queries, keys, first, last, scores, group, numbers)
    for i in range(len(queries)):
        own = scores[i, : last - first]
        part[i, width + 1] = _largest(own)
        part[i, width] = _weigh(own, part[i, width + 1], scale)
    gather_rows(scores, values, first, last, part, group, numbers)


@compiled
def _join(parts, scale, out, numbers):  # type: ignore[no-untyped-def]
    """All threads' rows together; parts (threads, heads, width + 2), out (heads * width)."""
    width = len(numbers)
    for head in range(parts.shape[1]):
        largest = _LEAST
        for thread in range(len(parts)):
            largest = max(largest, parts[thread, head, width + 1])
        own = out[head * width : (head + 1) * width]
        own[:] = f32(0.0)
        total = f32(0.0)
        for thread in range(len(parts)):
            part = parts[thread, head]
            share = np.exp((part[width + 1] - largest) * scale)
            total += share * part[width]
            for c in range(width):
                own[c] += share * part[c]
        for c in range(width):
            own[c] /= total


@compiled
def _add_rows(hidden, product):  # type: ignore[no-untyped-def]
    for c in range(len(hidden)):
        hidden[c] += product[c]


@compiled
def _gate(both, first, last):  # type: ignore[no-untyped-def]
    """`gate = silu(gate) * up` of these columns; both (2 * width) holds gate, then up."""
    wide_vectors()
    gates, ups = both[: len(both) // 2], both[len(both) // 2 :]
    for c in range(first, last):
        gates[c] = _silu(gates[c]) * ups[c]


@compiled
def read_token(rank, size, model, shared, own, hidden, cosines, sines, cache, place, logits):  # type: ignore[no-untyped-def]
    """Read one token into the cache; logits of what follows it, if `logits` is not empty.

    Run by `size` threads at once.

    Args:
        rank: which of them.
        size: how many.
        model: (matrices (layers * 4 + 1, 3) int64 as `multiply` takes them, in the order QKV, out,
            gate and up, down, and the output matrix; norms (2 * layers + 1, E); biases (layers,
            QKV); epsilon; scale; tuples, of which the number of integers counts: scales in a vector
            of a layer's weights, the same of the output matrix, heads that share keys, a head's
            width).
        shared: (meeting (1), QKV (QKV), product (E), both (2 * F), parts (threads, heads, width +
            2), rounded row (F)).
        own: this thread's (normed (E), rounded row (E), scores (queries of a head of keys, rows)).
        hidden: (E), this thread's copy of the token's embedding; in the end the normed state.
        cosines, sines: of the token's position, (width / 2).
        cache: (2 * layers, 1, heads of keys, capacity, width).
        place: the token's row in the cache.
        logits: (V) or empty.
    """
    matrices, norms, biases, epsilon, scale, per_vector, per_vector_out, group, numbers = model
    meeting, qkv, product, both, parts, rounded_wide = shared
    normed, rounded, scores = own
    width, heads_of_keys = len(numbers), cache.shape[2]
    heads = parts.shape[1]
    queries = qkv[: heads * width].reshape(heads, width)
    keys = qkv[heads * width : (heads + heads_of_keys) * width].reshape(heads_of_keys, width)
    values = qkv[(heads + heads_of_keys) * width :].reshape(heads_of_keys, width)
    layers = len(biases)
    blocks = len(hidden) // BLOCK
    inner = len(both) // 2
    first_row, last_row = _share(place + 1, 1, rank, size)
    first_out, last_out = _share(len(product), ROWS, rank, size)
    first_qkv, last_qkv = _share(len(qkv), ROWS, rank, size)
    first_inner, last_inner = _share(inner, BLOCK, rank, size)
    rank_of_last = size - 1
    for layer in range(layers):
        own_matrices = matrices[4 * layer : 4 * layer + 4]
        _normalise(hidden, norms[2 * layer], epsilon, normed)
        round_row(normed, rounded, 0, blocks)
        multiply(own_matrices[0], rounded, qkv, first_qkv, last_qkv, per_vector)
        for c in range(first_qkv, last_qkv):
            qkv[c] += biases[layer, c]
        _meet(meeting, size)
        # Each rotates its own copy of the queries; who has the last row writes it first.
        turned = normed.reshape(heads, width)
        for head in range(heads):
            turned[head] = queries[head]
            _rotate(turned[head], cosines, sines)
        for g in range(heads_of_keys):
            own_keys, own_values = cache[2 * layer, 0, g], cache[2 * layer + 1, 0, g]
            if rank == rank_of_last:
                own_keys[place] = keys[g]
                _rotate(own_keys[place], cosines, sines)
                own_values[place] = values[g]
            part = parts[rank, g * len(group) : (g + 1) * len(group)]
            _attend(
                turned[g * len(group) : (g + 1) * len(group)],
                own_keys, own_values, first_row, last_row, scale, scores, part, group, numbers,
            )  # fmt: skip
        _meet(meeting, size)
        _join(parts, scale, normed, numbers)
        round_row(normed, rounded, 0, blocks)
        multiply(own_matrices[1], rounded, product, first_out, last_out, per_vector)
        _meet(meeting, size)
        _add_rows(hidden, product)
        _normalise(hidden, norms[2 * layer + 1], epsilon, normed)
        round_row(normed, rounded, 0, blocks)
        multiply(own_matrices[2], rounded, both, first_inner, last_inner, per_vector)
        multiply(
            own_matrices[2], rounded, both, inner + first_inner, inner + last_inner, per_vector
        )
        _gate(both, first_inner, last_inner)
        round_row(both, rounded_wide, first_inner // BLOCK, last_inner // BLOCK)
        _meet(meeting, size)
        multiply(own_matrices[3], rounded_wide, product, first_out, last_out, per_vector)
        _meet(meeting, size)
        _add_rows(hidden, product)
    if len(logits):
        _normalise(hidden, norms[2 * layers], epsilon, normed)
        round_row(normed, rounded, 0, blocks)
        first, last = _share(len(logits), ROWS, rank, size)
        multiply(matrices[4 * layers], rounded, logits, first, last, per_vector_out)
        hidden[:] = normed
