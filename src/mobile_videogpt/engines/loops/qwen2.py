"""Qwen2 reading a few tokens, as one compiled function for numba; imported where numba is.

An operator at a time, most of a token's time goes into what lies between the products: calls,
threads that wake up and wait, rows that are written and read again. Here every thread runs this
function from the first layer to the last, and they meet where one needs what others made. Outputs
of products are shared out, then rows of the cache, and for what is small (norms, rounding,
rotation) the tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from mobile_videogpt.engines.loops.attention import gather_rows, score_rows
from mobile_videogpt.engines.loops.int4 import BLOCK, ROWS, multiply, round_row
from mobile_videogpt.engines.loops.meeting import meet, share
from mobile_videogpt.engines.loops.rows import add_rows, rms_norm
from mobile_videogpt.engines.loops.scalars import exp, silu
from mobile_videogpt.models.compiled_loops import compiled
from mobile_videogpt.models.scan_loops import wide_vectors

f32 = np.float32
_LEAST = f32(-1e30)


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
        scores[i] = exp((scores[i] - largest) * scale)
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
def _attend(queries, keys, values, own, scale, scores, part, group, numbers):  # type: ignore[no-untyped-def]
    """This thread's rows of one head of keys, for all queries that read it.

    own: the first and the last row. part: (queries, width + 2): the weighted sum of values, the
    weights' sum, the largest score.
    """
    width, (first, last) = len(numbers), own
    score_rows(queries, keys, first, last, scores, group, numbers)
    for i in range(len(queries)):
        weights = scores[i, : last - first]
        part[i, width + 1] = _largest(weights)
        part[i, width] = _weigh(weights, part[i, width + 1], scale)
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
            weight = np.exp((part[width + 1] - largest) * scale)
            total += weight * part[width]
            for c in range(width):
                own[c] += weight * part[c]
        for c in range(width):
            own[c] /= total


@intrinsic
def _at(typing_context: Any, address: Any) -> Any:
    """A pointer to float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.FloatType().as_pointer())

    return types.CPointer(types.float32)(types.int64), generate


@compiled
def _rows_of(cache, heads_of_keys, tensor, head, width):  # type: ignore[no-untyped-def]
    """One head's keys or values, (capacity, width); see `read_tokens`."""
    address, capacity = cache[0], cache[1]
    skipped = (tensor * heads_of_keys + head) * capacity * width * 4
    return carray(_at(address + skipped), (capacity, width))


@compiled
def _prepare(hidden, norm, epsilon, rounded, row, room):  # type: ignore[no-untyped-def]
    """Round a normed row for the next product."""
    rms_norm(hidden[row : row + 1], norm, epsilon, room[row : row + 1])
    round_row(room[row], rounded, row, 0, room.shape[1] // BLOCK)


@compiled
def _gate(both, first, last):  # type: ignore[no-untyped-def]
    """`gate = silu(gate) * up` of these columns; both (2 * width) holds gate, then up."""
    wide_vectors()
    gates, ups = both[: len(both) // 2], both[len(both) // 2 :]
    for c in range(first, last):
        gates[c] = silu(gates[c]) * ups[c]


@compiled
def _remember(qkv, heads, turn, cache, layer, heads_of_keys, place, width):  # type: ignore[no-untyped-def]
    """Rotate a token's queries and keys, and write its keys and values into its cache."""
    for head in range(heads + heads_of_keys):
        _rotate(qkv[head * width : (head + 1) * width], turn[0], turn[1])
    for g in range(heads_of_keys):
        key, value = heads + g, heads + heads_of_keys + g
        keys = _rows_of(cache, heads_of_keys, 2 * layer, g, width)
        keys[place] = qkv[key * width : (key + 1) * width]
        values = _rows_of(cache, heads_of_keys, 2 * layer + 1, g, width)
        values[place] = qkv[value * width : (value + 1) * width]


@compiled
def read_tokens(rank, size, model, shared, scores, turns, caches, places, logits):  # type: ignore[no-untyped-def]
    """Read tokens into their caches; logits of what follows the last ones of them.

    Run by `size` threads at once. Tokens of one cache stand in their order.

    Args:
        rank: which of the threads.
        size: how many there are.
        model: (matrices (layers * 4 + 1, 3) int64 as `multiply` takes them, in the order QKV, out,
            gate and up, down, and the output matrix; norms (2 * layers + 1, E); biases (layers,
            QKV); epsilon; scale of scores; tuples, of which the number of integers counts: scales
            in a vector of a layer's weights, heads that share keys, a head's width, scales in a
            vector of the output matrix).
        shared: (meeting (1) int64, 0 at first; hidden (tokens, E), the embeddings, in the end the
            last layer's normed states; room (tokens, E); rounded rows of E; QKV (tokens, QKV);
            product (tokens, E); both (tokens, 2 * F); parts (threads, tokens, heads, width + 2);
            rounded rows of F).
        scores: this thread's, (heads that share keys, rows that it reads).
        turns: (tokens, 2, width / 2), cosines and sines of their positions.
        caches: (tokens, 2) int64, address and capacity of each one's cache, which is
            (2 * layers, 1, heads of keys, capacity, width) float32.
        places: (tokens) int64, each one's row in its cache.
        logits: (tokens at most, V).
    """
    matrices, norms, biases, epsilon = model[:4]
    meeting, hidden, room, rounded = shared[:4]
    inside = model[4:8]
    for layer in range(len(biases)):
        own = matrices[4 * layer : 4 * layer + 4]
        for token in range(rank, len(hidden), size):
            _prepare(hidden, norms[2 * layer], epsilon, rounded, token, room)
        meet(meeting, size)
        where = turns, caches, places
        _look_back(rank, size, own, biases[layer], layer, inside, shared, scores, where)
        for token in range(rank, len(hidden), size):
            add_rows(hidden[token : token + 1], shared[5][token : token + 1])
            _prepare(hidden, norms[2 * layer + 1], epsilon, rounded, token, room)
        meet(meeting, size)
        _feed_forward(rank, size, own, inside[1], shared)
        for token in range(rank, len(hidden), size):
            add_rows(hidden[token : token + 1], shared[5][token : token + 1])
    last = matrices[-1], norms[-1], epsilon, model[8]
    _tell(rank, size, last, shared, logits)


@compiled
def _look_back(rank, size, matrices, bias, layer, inside, shared, scores, where):  # type: ignore[no-untyped-def]
    """A layer's attention, of the rounded rows; its output is the product."""
    scale, per_vector, group, numbers = inside
    turns, caches, places = where
    meeting, hidden, room, rounded, qkv, product, _, parts, _ = shared
    width, tokens = len(numbers), len(hidden)
    heads = parts.shape[2]
    heads_of_keys = heads // len(group)
    first, last = share(qkv.shape[1], ROWS, rank, size)
    multiply(matrices[0], rounded, qkv, first, last, per_vector)
    for token in range(tokens):
        for c in range(first, last):
            qkv[token, c] += bias[c]
    meet(meeting, size)
    for token in range(rank, tokens, size):
        cache, place = caches[token], places[token]
        _remember(qkv[token], heads, turns[token], cache, layer, heads_of_keys, place, width)
    meet(meeting, size)
    for token in range(tokens):
        queries = qkv[token, : heads * width].reshape(heads, width)
        own = share(places[token] + 1, 1, rank, size)
        for g in range(heads_of_keys):
            left, right = g * len(group), (g + 1) * len(group)
            keys = _rows_of(caches[token], heads_of_keys, 2 * layer, g, width)
            values = _rows_of(caches[token], heads_of_keys, 2 * layer + 1, g, width)
            part = parts[rank, token, left:right]
            _attend(queries[left:right], keys, values, own, scale, scores, part, group, numbers)
    meet(meeting, size)
    for token in range(rank, tokens, size):
        _join(parts[:, token], scale, room[token], numbers)
        round_row(room[token], rounded, token, 0, room.shape[1] // BLOCK)
    meet(meeting, size)
    first, last = share(product.shape[1], ROWS, rank, size)
    multiply(matrices[1], rounded, product, first, last, per_vector)
    meet(meeting, size)


@compiled
def _feed_forward(rank, size, matrices, per_vector, shared):  # type: ignore[no-untyped-def]
    """A layer's gated product, of the rounded rows; its output is the product."""
    meeting, _, _, rounded, _, product, both, _, rounded_wide = shared
    inner = both.shape[1] // 2
    first, last = share(inner, BLOCK, rank, size)
    multiply(matrices[2], rounded, both, first, last, per_vector)
    multiply(matrices[2], rounded, both, inner + first, inner + last, per_vector)
    for token in range(len(both)):
        _gate(both[token], first, last)
        round_row(both[token], rounded_wide, token, first // BLOCK, last // BLOCK)
    meet(meeting, size)
    first, last = share(product.shape[1], ROWS, rank, size)
    multiply(matrices[3], rounded_wide, product, first, last, per_vector)
    meet(meeting, size)


@compiled
def _tell(rank, size, last, shared, logits):  # type: ignore[no-untyped-def]
    """Logits of the last tokens, and the normed states of all."""
    matrix, norm, epsilon, per_vector = last
    meeting, hidden, _, rounded = shared[:4]
    unasked = len(hidden) - len(logits)
    for token in range(rank, len(hidden), size):
        own = hidden[token : token + 1]
        rms_norm(own, norm, epsilon, own)
        if token >= unasked:
            row = token - unasked
            round_row(hidden[token], rounded, row, 0, hidden.shape[1] // BLOCK)
    meet(meeting, size)
    first, last = share(logits.shape[1], ROWS, rank, size)
    multiply(matrix, rounded, logits, first, last, per_vector)
