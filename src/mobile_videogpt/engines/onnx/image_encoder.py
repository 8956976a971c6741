"""The image encoder as an ONNX graph: CLIP's vision tower up to the layer that is used."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from mobile_videogpt.engines.onnx.graph import CONTRIB, Graph
from mobile_videogpt.engines.onnx.layers import Layers, NumberFormat


def write_image_encoder(
    path: Path, model: CLIPVisionModel, feature_layer: int, number_format: NumberFormat
) -> list[Path]:
    """Write the graph: `pixel_values` (F, 3, H, W) -> `features` (F, N, D), any number of frames.

    Args:
        path: of the `.onnx` file.
        model: with float weights on the CPU.
        feature_layer: the hidden state that is taken, as `config.image_feature_layer`.
        number_format: of the matrices.

    Returns:
        The files written.
    """
    config: CLIPVisionConfig = model.config
    graph = Graph(path)
    layers = Layers(graph, number_format)
    size = config.image_size
    pixels = graph.input("pixel_values", ["frames", config.num_channels, size, size])
    tokens = (size // config.patch_size) ** 2
    embedded = _embed(layers, pixels, model)  # (F, 1 + N, D)
    rows = layers.reshape(embedded, -1, config.hidden_size)  # (F * (1 + N), D)
    rows = layers.layer_norm(rows, model.pre_layrnorm)
    depth = range(config.num_hidden_layers + 1)[feature_layer]
    for layer in model.encoder.layers[:depth]:
        rows = _encoder_layer(layers, rows, layer, config, 1 + tokens)
    hidden = layers.reshape(rows, -1, 1 + tokens, config.hidden_size)
    one, end, axis = (graph.constant([n]) for n in (1, 1 + tokens, 1))
    features = graph.node("Slice", hidden, one, end, axis)  # without the class token
    graph.output(features, "features", ["frames", tokens, config.hidden_size])
    return graph.save()


def _embed(layers: Layers, pixels: str, model: CLIPVisionModel) -> str:
    """Patches behind a class token, with positions: (F, 1 + N, D)."""
    graph, config, embeddings = layers.graph, model.config, model.embeddings
    patch = config.patch_size
    planes = graph.node(
        "Conv",
        pixels,
        layers.weight(embeddings.patch_embedding.weight),
        strides=[patch, patch],
        kernel_shape=[patch, patch],
    )  # (F, D, g, g)
    patches = graph.node(
        "Transpose", layers.reshape(planes, 0, config.hidden_size, -1), perm=[0, 2, 1]
    )
    positions = embeddings.position_embedding.weight  # (1 + N, D)
    patches = graph.node("Add", patches, layers.weight(positions[1:]))
    first = layers.weight((embeddings.class_embedding + positions[0])[None, None])
    frames = graph.node("Slice", graph.node("Shape", pixels), *map(graph.constant, ([0], [1])))
    shape = graph.node("Concat", frames, graph.constant([1, config.hidden_size]), axis=0)
    return graph.node("Concat", graph.node("Expand", first, shape), patches, axis=1)


def _encoder_layer(
    layers: Layers, rows: str, layer: CLIPEncoderLayer, config: CLIPVisionConfig, length: int
) -> str:
    """One layer on (F * length, D)."""
    graph, attention = layers.graph, layer.self_attn
    normed = layers.layer_norm(rows, layer.layer_norm1)
    inputs = [attention.q_proj, attention.k_proj, attention.v_proj]
    parts = [
        layers.reshape(layers.linear(normed, part.weight), -1, length, config.hidden_size)
        for part in inputs
    ]
    bias = layers.weight(torch.cat([part.bias for part in inputs]))
    attended = graph.node(
        "MultiHeadAttention",
        *(*parts, bias),
        domain=CONTRIB,
        num_heads=config.num_attention_heads,
    )
    flat = layers.reshape(attended, -1, config.hidden_size)
    projected = layers.module(flat, attention.out_proj)
    normed, rows = layers.add_and_layer_norm(projected, rows, layer.layer_norm2)
    inner = layers.activation(layers.module(normed, layer.mlp.fc1), config.hidden_act)
    return graph.node("Add", rows, layers.module(inner, layer.mlp.fc2))
