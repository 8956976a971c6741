"""The language model as an ONNX graph: Qwen2 that reads embeddings and extends a cache in place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from mobile_videogpt.engines.onnx.attention import (
    Heads,
    Progress,
    Rotation,
    attend_by_head,
    attend_in_place,
    cache_names,
    causal_mask,
    declare_memory,
)
from mobile_videogpt.engines.onnx.graph import INT32, INT64, Graph
from mobile_videogpt.engines.onnx.layers import Layers, NumberFormat, to_numpy
from mobile_videogpt.engines.onnx.weights import INT4_BLOCK, INT4_COARSE_BLOCK


def write_language_model(
    path: Path, model: Qwen2ForCausalLM, number_format: NumberFormat, has_logits: bool = True
) -> list[Path]:
    """Write the graph.

    Its inputs: `inputs_embeds` (L, E) and their `positions` (1, L), and the cache, `past.*`; its
    outputs the cache's new rows, `present.*` (see `attention`), and `logits` (wanted, V), for which
    `first_logit` (1,) names the first token whose logits are wanted. Logits in 4 bits of a model
    whose output matrix is its table of embeddings come with the `states` (wanted, E) that they were
    made of, so that the runner can make those that matter again (see `contenders`). Without logits,
    `last_index` (1,) and `total_length` () are the cache's last row and its length after the call.

    Args:
        path: of the `.onnx` file.
        model: with float weights on the CPU.
        number_format: of the matrices.
        has_logits: False leaves the output matrix out: a graph that only fills the cache.

    Returns:
        The files written.
    """
    config: Qwen2Config = model.config
    _check(config)
    graph = Graph(path)
    layers = Layers(graph, number_format)
    hidden = graph.input("inputs_embeds", ["tokens", config.hidden_size])
    positions = graph.input("positions", [1, "tokens"], INT64)
    attend = _attention(layers, model, positions, has_logits)
    epsilon = config.rms_norm_eps
    decoder = model.model.layers
    norms = [layer.input_layernorm for layer in decoder[1:]] + [model.model.norm]
    normed = layers.rms_norm(hidden, decoder[0].input_layernorm.weight, epsilon)
    for index, (layer, next_norm) in enumerate(zip(decoder, norms, strict=True)):
        attended = attend(_queries_keys_values(layers, normed, layer), index)
        if next_norm is model.model.norm and not has_logits:
            break  # the last layer's keys and values are in the cache
        projected = layers.module(attended, layer.self_attn.o_proj)
        normed, hidden = layers.add_and_rms_norm(
            projected, hidden, layer.post_attention_layernorm.weight, epsilon
        )
        fed = _feed_forward(layers, normed, layer)
        normed, hidden = layers.add_and_rms_norm(fed, hidden, next_norm.weight, epsilon)
    if has_logits:
        _logits(layers, normed, model)
    return graph.save()


def _check(config: Qwen2Config) -> None:
    rope = config.rope_parameters or {}
    if config.use_sliding_window:
        raise ValueError(
            "the language model uses a sliding window, which the ONNX export lacks; set "
            "use_sliding_window to false in its config, or use the torch engine"
        )
    if rope.get("rope_type", "default") != "default":
        raise ValueError(
            f"the language model's rope_type is {rope['rope_type']!r}, but the ONNX export knows "
            "'default' only; use the torch engine"
        )


def _rotation_tables(model: Qwen2ForCausalLM) -> list[np.ndarray]:
    """Cosines and sines, (positions, head width / 2) each."""
    frequencies = model.model.rotary_emb.inv_freq.float().cpu()
    positions = torch.arange(model.config.max_position_embeddings, dtype=torch.float32)
    angles = positions[:, None] * frequencies
    return [angles.cos().numpy(), angles.sin().numpy()]


def _attention(
    layers: Layers, model: Qwen2ForCausalLM, positions: str, has_logits: bool
) -> Callable[[str, int], str]:
    """Attention of any layer: queries, keys and values side by side, and the layer's number."""
    graph, config = layers.graph, model.config
    heads = Heads(
        config.num_attention_heads,
        config.num_key_value_heads,
        config.hidden_size // config.num_attention_heads,
        model.model.layers[0].self_attn.scaling,
    )
    rotation = Rotation(positions, *map(graph.constant, _rotation_tables(model)))
    if has_logits:
        declare_memory(graph, config.num_hidden_layers, heads)
        mask = causal_mask(graph, positions, cache_names("past", 1, heads.keys)[0], heads)
        return lambda packed, layer: attend_by_head(layers, packed, layer, heads, rotation, mask)
    progress = Progress(
        graph.input("last_index", [1], INT32), graph.input("total_length", [], INT32)
    )
    return lambda packed, layer: attend_in_place(layers, packed, layer, heads, rotation, progress)


def _queries_keys_values(layers: Layers, normed: str, layer: Qwen2DecoderLayer) -> str:
    """Side by side, (L, (queries + 2 keys) * head width)."""
    attention = layer.self_attn
    inputs = [attention.q_proj, attention.k_proj, attention.v_proj]
    weight = torch.cat([linear.weight for linear in inputs])
    bias = torch.cat([linear.bias for linear in inputs])
    return layers.linear(normed, weight, bias)


def _feed_forward(layers: Layers, normed: str, layer: Qwen2DecoderLayer) -> str:
    both = torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight])
    gate, up = layers.graph.nodes(
        "Split", layers.linear(normed, both), outputs=2, axis=1, num_outputs=2
    )
    gated = layers.graph.node("Mul", layers.silu(gate), up)
    return layers.module(gated, layer.mlp.down_proj)


def _logits(layers: Layers, normed: str, model: Qwen2ForCausalLM) -> None:
    graph = layers.graph
    first = graph.input("first_logit", [1], INT64)
    end = graph.constant(np.array([np.iinfo(np.int64).max]))
    wanted = graph.node("Slice", normed, first, end, graph.constant([0]))
    block = INT4_BLOCK
    if layers.number_format == "int4" and _is_tied(model):
        block = INT4_COARSE_BLOCK
        graph.output(wanted, "states", ["wanted", model.config.hidden_size])
    logits = layers.linear(wanted, model.lm_head.weight, int4_block=block)
    graph.output(logits, "logits", ["wanted", model.config.vocab_size])


def _is_tied(model: Qwen2ForCausalLM) -> bool:
    return torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)


def write_embeddings(path: Path, model: Qwen2ForCausalLM, dtype: np.dtype) -> list[Path]:
    """Write the table of token embeddings (V, E), to be read row by row from disk."""
    table = model.get_input_embeddings().weight
    np.save(path, to_numpy(table).astype(dtype))
    return [path]
