"""Causal attention with a cache, in two forms, each the faster one at its task.

Both take and give rows (L, width), and neither ever copies the cache. The cache of a layer is
(heads of keys, capacity, head width): every head's rows lie one after the other.

* `attend_in_place`, for many tokens at once: ONNX Runtime's `GroupQueryAttention` writes into the
  memory that is bound as its input and output.
* `attend_by_head`, for one token at a time: the rows are bound as they are, head by head, and the
  new rows a second time, as outputs. All queries of a head read its keys in one matrix product,
  where `GroupQueryAttention` reads them once for each query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mobile_videogpt.engines.onnx.graph import CONTRIB, Graph
from mobile_videogpt.engines.onnx.layers import Layers

_NEVER = -1e30  # a score that softmax turns into 0


@dataclass(frozen=True)
class Heads:
    """Sizes of an attention layer."""

    queries: int
    keys: int
    width: int
    scale: float

    @property
    def shared(self) -> int:
        """How many heads of queries read one head of keys."""
        return self.queries // self.keys


@dataclass(frozen=True)
class Rotation:
    """Names of what rotary positions need: `positions` (1, L) and two tables."""

    positions: str
    cosines: str
    sines: str

    def apply(self, layers: Layers, rows: str, width: int) -> str:
        """Rotate heads that lie side by side in (L, width) -> (1, L, width)."""
        shaped = layers.reshape(rows, 1, -1, width)
        return layers.graph.node(
            "RotaryEmbedding",
            *(shaped, self.positions, self.cosines, self.sines),
            domain=CONTRIB,
            interleaved=0,
        )


@dataclass(frozen=True)
class Progress:
    """Names of the inputs that say how far the cache is filled after the call."""

    last_index: str
    total_length: str


def cache_names(kind: str, num_layers: int, heads: int = 0) -> list[str]:
    """Names of the cache's tensors, in the order in which they lie in memory.

    Args:
        kind: past or present.
        num_layers: of the language model.
        heads: of keys, where each has a tensor of its own.

    >>> cache_names("past", 1)
    ['past.0.key', 'past.0.value']
    >>> cache_names("past", 1, heads=1)
    ['past.0.key.0', 'past.0.value.0']
    """
    names = [f"{kind}.{i}.{part}" for i in range(num_layers) for part in ("key", "value")]
    return [f"{name}.{head}" for name in names for head in range(heads)] if heads else names


def attend_in_place(
    layers: Layers, packed: str, layer: int, heads: Heads, rotation: Rotation, progress: Progress
) -> str:
    """Queries, keys and values side by side (L, ...) -> (L, queries * width)."""
    graph = layers.graph
    widths = [heads.queries * heads.width, heads.keys * heads.width]
    queries, keys, values = graph.nodes(
        "Split", packed, graph.constant([*widths, widths[1]]), outputs=3, axis=1
    )
    rotated = [
        rotation.apply(layers, rows, width)
        for rows, width in zip((queries, keys), widths, strict=True)
    ]
    shape: list[int | str] = [1, heads.keys, "capacity", heads.width]
    ends = [f"{layer}.key", f"{layer}.value"]
    past = [graph.input(f"past.{end}", shape) for end in ends]
    present = [f"present.{end}" for end in ends]
    attended = graph.nodes(
        "GroupQueryAttention",
        *(*rotated, layers.reshape(values, 1, -1, widths[1]), *past),
        *(progress.last_index, progress.total_length),
        outputs=(None, *present),
        domain=CONTRIB,
        num_heads=heads.queries,
        kv_num_heads=heads.keys,
        scale=heads.scale,
    )[0]
    for name in present:
        graph.output(name, name, shape)
    return layers.reshape(attended, -1, widths[0])


def causal_mask(graph: Graph, positions: str, past_keys: str, heads: Heads) -> str:
    """What is added to the scores of one head of keys: (L * queries that share it, past + L).

    0 where a token may look, a large negative number at later ones.
    """
    count = graph.node("Slice", graph.node("Shape", positions), *map(graph.constant, ([1], [2])))
    total = graph.node("Shape", past_keys, end=1)
    order = graph.node("CumSum", graph.filled(count, np.int64(1)), graph.constant(np.int64(0)))
    new_keys = graph.node("Add", order, graph.node("Sub", total, count))  # 1 is the first of all
    every = graph.node("CumSum", graph.filled(total, np.int64(1)), graph.constant(np.int64(0)))
    is_later = graph.node("Greater", every, graph.node("Unsqueeze", new_keys, graph.constant([1])))
    mask = graph.node("Where", is_later, graph.constant(_NEVER), graph.constant(0.0))  # (L, total)
    shape = graph.node("Concat", count, graph.constant([heads.shared]), total, axis=0)
    each = graph.node("Expand", graph.node("Unsqueeze", mask, graph.constant([1])), shape)
    return graph.node("Reshape", each, graph.node("Concat", graph.constant([-1]), total, axis=0))


def declare_memory(graph: Graph, num_layers: int, heads: Heads) -> None:
    """Inputs and outputs of `attend_by_head`: every head's filled rows, and the new ones."""
    for name in cache_names("past", num_layers, heads.keys):
        graph.input(name, ["total", heads.width])


def attend_by_head(
    layers: Layers, packed: str, layer: int, heads: Heads, rotation: Rotation, mask: str
) -> str:
    """Queries, keys and values side by side (L, ...) -> (L, queries * width).

    `past.*` are the rows of all tokens, of which the last L are empty when the call begins: the two
    `Split`s that make the queries and the new rows write the latter there, so they are in place
    before anything that depends on the queries reads them.
    """
    graph, width = layers.graph, heads.width
    turned = (heads.queries + heads.keys) * width
    rotating, *values = graph.nodes(
        "Split",
        packed,
        graph.constant([turned, *[width] * heads.keys]),
        outputs=[None, *(f"present.{layer}.value.{head}" for head in range(heads.keys))],
        axis=1,
    )
    turned_rows = rotation.apply(layers, rotating, turned)
    rotated = layers.reshape(turned_rows, -1, heads.queries + heads.keys, width)
    parts = graph.nodes(
        "Split",
        rotated,
        graph.constant([heads.shared] * heads.keys + [1] * heads.keys),
        outputs=[
            *[None] * heads.keys,
            *(f"present.{layer}.key.{head}" for head in range(heads.keys)),
        ],
        axis=1,
    )
    for key, value in zip(parts[heads.keys :], values, strict=True):
        graph.output(key, key, ["tokens", 1, width])
        graph.output(value, value, ["tokens", width])
    attended = [
        _attend_head(layers, queries, (layer, head), heads, mask)
        for head, queries in enumerate(parts[: heads.keys])
    ]
    return graph.node("Concat", *attended, axis=1)


def _attend_head(
    layers: Layers, queries: str, place: tuple[int, int], heads: Heads, mask: str
) -> str:
    """The queries (L, shared, width) that read one head of keys -> (L, shared * width)."""
    graph, (layer, head) = layers.graph, place
    keys, values = (f"past.{layer}.{part}.{head}" for part in ("key", "value"))
    rows = layers.reshape(queries, -1, heads.width)
    scores = graph.node("Gemm", rows, keys, mask, transB=1, alpha=heads.scale)
    read = graph.node("MatMul", graph.node("Softmax", scores, axis=1), values)
    return layers.reshape(read, -1, heads.shared * heads.width)
