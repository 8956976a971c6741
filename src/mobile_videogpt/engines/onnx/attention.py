"""Causal attention with a cache, in two forms, each the faster one at its task.

Both take and give rows (L, width), and neither ever copies the cache. The cache of a layer is
(heads of keys, capacity, head width): every head's rows lie one after the other.

* `attend_in_place`, for many tokens at once: ONNX Runtime's `GroupQueryAttention` writes into the
  memory that is bound as its input and output.
* `attend_by_head`, for one token at a time: the rows that are filled are bound as they are, head by
  head, and the new rows are bound where they belong behind them. All queries of a head read its
  keys in one matrix product, where `GroupQueryAttention` reads them once for each query.
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
        """Rotate heads that lie side by side in (L, width)."""
        shaped = layers.reshape(rows, 1, -1, width)
        rotated = layers.graph.node(
            "RotaryEmbedding",
            *(shaped, self.positions, self.cosines, self.sines),
            domain=CONTRIB,
            interleaved=0,
        )
        return layers.reshape(rotated, -1, width)


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
        layers.reshape(rotation.apply(layers, rows, width), 1, -1, width)
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


def causal_mask(graph: Graph, positions: str) -> str:
    """(L, 1, L): 0 where a token may look, a large negative number at later ones."""
    count = graph.node("Slice", graph.node("Shape", positions), *map(graph.constant, ([1], [2])))
    order = graph.node("CumSum", graph.filled(count, np.int64(1)), graph.constant(np.int64(0)))
    rows = graph.node("Unsqueeze", order, graph.constant([1, 2]))
    is_later = graph.node("Greater", order, rows)
    return graph.node("Where", is_later, graph.constant(_NEVER), graph.constant(0.0))


def attend_by_head(
    layers: Layers, packed: str, layer: int, heads: Heads, rotation: Rotation, mask: str
) -> str:
    """Queries, keys and values side by side (L, ...) -> (L, queries * width)."""
    graph, width = layers.graph, heads.width
    turned = (heads.queries + heads.keys) * width
    rotating, *values = graph.nodes(
        "Split",
        packed,
        graph.constant([turned, *[width] * heads.keys]),
        outputs=[None, *(f"present.{layer}.value.{head}" for head in range(heads.keys))],
        axis=1,
    )
    rotated = layers.reshape(rotation.apply(layers, rotating, turned), 0, -1, width)
    parts = graph.nodes(
        "Split",
        rotated,
        graph.constant([heads.shared] * heads.keys + [1] * heads.keys),
        outputs=2 * heads.keys,
        axis=1,
    )
    attended = []
    for head, value in enumerate(values):
        key = f"present.{layer}.key.{head}"
        shape = graph.constant([-1, width])
        graph.nodes("Reshape", parts[heads.keys + head], shape, outputs=[key])
        past_key, past_value = (
            graph.input(f"past.{layer}.{part}.{head}", ["past", width]) for part in ("key", "value")
        )
        queries = layers.reshape(parts[head], -1, width)  # (L * shared, width)
        attended.append(
            _attend_head(layers, queries, (past_key, past_value, key, value), heads, mask)
        )
        for name in (key, value):
            graph.output(name, name, ["tokens", width])
    together = graph.node("Concat", *attended, axis=1)  # (L, queries, width)
    return layers.reshape(together, -1, heads.queries * width)


def _attend_head(
    layers: Layers, queries: str, memory: tuple[str, str, str, str], heads: Heads, mask: str
) -> str:
    """One head of keys, `memory` being past keys and values, then new ones: (L, shared, width)."""
    graph = layers.graph
    past_keys, past_values, new_keys, new_values = memory

    def score(keys: str) -> str:
        return graph.node("FusedMatMul", queries, keys, domain=CONTRIB, transB=1, alpha=heads.scale)

    length = graph.node("Slice", graph.node("Shape", past_keys), *map(graph.constant, ([0], [1])))
    new = graph.node("Shape", new_keys)
    count = graph.node("Slice", new, *map(graph.constant, ([0], [1])))
    shape = graph.node("Concat", graph.constant([-1, heads.shared]), count, axis=0)
    masked = graph.node("Add", graph.node("Reshape", score(new_keys), shape), mask)
    flat = graph.node("Concat", graph.constant([-1]), count, axis=0)
    scores = graph.node("Concat", score(past_keys), graph.node("Reshape", masked, flat), axis=1)
    shares = graph.node("Softmax", scores, axis=1)  # (L * shared, past + L)
    of_past, of_new = graph.nodes(
        "Split", shares, graph.node("Concat", length, count, axis=0), outputs=2, axis=1
    )
    read = graph.node(
        "Add",
        graph.node("MatMul", of_past, past_values),
        graph.node("MatMul", of_new, new_values),
    )
    return layers.reshape(read, -1, heads.shared, heads.width)
