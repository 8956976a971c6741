"""Frame selection and projectors as ONNX graphs: what lies between encoders and language model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import torch

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.engines.onnx.graph import INT64, Graph
from mobile_videogpt.engines.onnx.layers import Layers, NumberFormat
from mobile_videogpt.models.frame_selection import uniform_frames
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.models.projector import EfficientTokenProjector, MLPProjector, pool_grid

Projector = EfficientTokenProjector | MLPProjector


def write_selection(path: Path, config: MobileVideoGPTConfig) -> list[Path]:
    """Write the graph: `features` (T, N, D) -> `scores` (T,) and `kept` (K,), ascending.

    Equations 3 and 4 of the paper, as `models.frame_selection` computes them; the number of
    frames is the configuration's.
    """
    graph = Graph(path)
    frames, tokens = config.num_frames, config.image_grid**2
    width = config.image_config.hidden_size
    features = graph.input("features", [frames, tokens, width])
    if config.frame_selection == "uniform":
        spread = uniform_frames(frames, config.num_kept_frames)
        zeros = graph.node(
            "ReduceSum", graph.node("Mul", features, graph.constant(0.0)), keepdims=0
        )
        scores = graph.node("Expand", zeros, graph.constant([frames]))
        graph.output(scores, "scores", [frames])
        graph.output(graph.constant(spread), "kept", [len(spread)], INT64)
        return graph.save()
    is_global = config.frame_selection == "global"
    groups = 1 if is_global else config.num_chunks
    keep = config.num_kept_frames // groups
    scores = _score(graph, features, groups, (frames, tokens, width))  # (groups, F)
    top = _smallest_or_largest(graph, scores, keep, config.select_largest)
    kept = graph.nodes(  # ascending
        "TopK", top, graph.constant([keep]), outputs=2, axis=1, largest=0, sorted=1
    )[0]
    first_frames = torch.arange(groups)[:, None] * (frames // groups)
    kept = graph.node("Add", kept, graph.constant(first_frames.numpy()))
    flat = graph.constant([-1])
    graph.output(graph.node("Reshape", scores, flat), "scores", [frames])
    kept = graph.node("Reshape", kept, flat)
    graph.output(kept, "kept", [config.num_kept_frames], INT64)
    return graph.save()


def _score(graph: Graph, features: str, groups: int, shape: tuple[int, int, int]) -> str:
    """Attention that each frame's tokens receive, (groups, frames of a group).

    One frame's queries at a time, so that the attention matrix is never whole in memory.
    """
    frames, tokens, width = shape
    count = frames // groups
    grouped = graph.node("Reshape", features, graph.constant([groups, count * tokens, width]))
    keys = graph.node("Transpose", grouped, perm=[0, 2, 1])
    keys = graph.node("Mul", keys, graph.constant(1 / math.sqrt(width)))
    axis = graph.constant([1])
    received = []
    for frame in range(count):
        ends = [graph.constant([n * tokens]) for n in (frame, frame + 1)]
        queries = graph.node("Slice", grouped, *ends, axis)
        attention = graph.node("Softmax", graph.node("MatMul", queries, keys), axis=-1)
        received.append(graph.node("ReduceSum", attention, axis, keepdims=0))
    total = graph.node("Sum", *received)  # (groups, count * tokens)
    per_frame = graph.node("Reshape", total, graph.constant([groups, count, tokens]))
    return graph.node("ReduceSum", per_frame, graph.constant([2]), keepdims=0)


def _smallest_or_largest(graph: Graph, scores: str, keep: int, largest: bool) -> str:
    """Indices of the best scores; of equal ones the earlier."""
    return graph.nodes(
        "TopK", scores, graph.constant([keep]), outputs=2, axis=1, largest=int(largest), sorted=1
    )[1]


def write_projectors(
    path: Path, model: MobileVideoGPTForConditionalGeneration, number_format: NumberFormat
) -> list[Path]:
    """Write the graph: both encoders' features -> `visual_embeds` (V, E).

    Inputs are `image_features` (T, N, D) and `video_features` (K, N, D) without class tokens.
    """
    config = model.config
    graph = Graph(path)
    layers = Layers(graph, number_format)
    sizes = [
        (config.num_frames, config.image_grid**2, config.image_config.hidden_size),
        (config.num_kept_frames, config.video_config.grid_size**2, config.video_config.hidden_size),
    ]
    images = graph.input("image_features", sizes[0])
    videos = graph.input("video_features", sizes[1])
    groups, tokens = config.num_kept_frames, sizes[1][1]
    if config.video_token_layout == "released":
        videos = _pool(layers, videos, tokens, config.video_pool_grid)
        groups = config.num_chunks
        tokens = config.frames_kept_per_chunk * config.video_pool_grid**2
        videos = layers.reshape(videos, groups, tokens, sizes[1][2])
    projected = [
        _project(layers, images, cast(Projector, model.image_projector), sizes[0]),
        _project(
            layers, videos, cast(Projector, model.video_projector), (groups, tokens, sizes[1][2])
        ),
    ]
    embeds = graph.node("Concat", *projected, axis=0)
    graph.output(
        embeds, "visual_embeds", [config.num_visual_tokens, config.text_config.hidden_size]
    )
    return graph.save()


def _project(
    layers: Layers, features: str, projector: Projector, shape: tuple[int, int, int]
) -> str:
    """(groups, N, D) -> (groups * n, E)."""
    graph = layers.graph
    groups, tokens, width = shape
    first, activation, second = cast(Any, projector.ffn)
    rows = layers.module(layers.reshape(features, -1, width), first)
    rows = layers.module(graph.node("Gelu", rows, approximate=activation.approximate), second)
    if not isinstance(projector, EfficientTokenProjector):
        return rows
    out = second.out_features
    pooled = _pool(layers, layers.reshape(rows, groups, tokens, out), tokens, projector.grid)
    grid, conv = projector.grid, projector.position_encoder
    planes = graph.node("Transpose", pooled, perm=[0, 2, 1])
    planes = layers.reshape(planes, groups, out, grid, grid)
    convolved = graph.node(
        "Conv",
        planes,
        layers.weight(conv.weight),
        layers.weight(conv.bias),
        group=conv.groups,
        pads=[1, 1, 1, 1],
        kernel_shape=list(conv.kernel_size),
    )
    placed = layers.reshape(graph.node("Add", planes, convolved), groups, out, grid * grid)
    return layers.reshape(graph.node("Transpose", placed, perm=[0, 2, 1]), -1, out)


def _pool(layers: Layers, tokens: str, count: int, grid: int) -> str:
    """`pool_grid` as a matrix: every pooled token is a fixed average of the others."""
    matrix = pool_grid(torch.eye(count), grid)  # (grid * grid, N)
    if matrix.shape[0] == count:
        return tokens
    return layers.graph.node("MatMul", layers.weight(matrix), tokens)
