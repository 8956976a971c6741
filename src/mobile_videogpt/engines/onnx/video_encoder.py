"""The video encoder as an ONNX graph: VideoMamba on the key frames.

The selective scan is ONNX's `Scan`, one step per turn, one `Scan` for each direction: a step works
on all states of one direction at once, (state, channels), which stay in the cache nearest to the
processor. Forms without a loop were slower: they read and write every state several times.

Beside the graph of a large encoder lie the tensors of `engines.videomamba`, whose compiled loops
are several times faster. The engine uses them where numba is installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch

from mobile_videogpt.config import VideoMambaConfig
from mobile_videogpt.engines.onnx.graph import Graph, loop_body
from mobile_videogpt.engines.onnx.layers import Layers, NumberFormat
from mobile_videogpt.engines.videomamba import is_worthwhile
from mobile_videogpt.engines.videomamba_weights import write_runner_tensors
from mobile_videogpt.models.videomamba import (
    BidirectionalMamba,
    MambaBranch,
    VideoMambaBlock,
    VideoMambaEmbeddings,
    VideoMambaModel,
)


def write_video_encoder(
    path: Path, model: VideoMambaModel, num_frames: int, number_format: NumberFormat
) -> list[Path]:
    """Write the graph: `pixel_values` (K, 3, H, W) -> `features` (K, N, D), class token dropped.

    Args:
        path: of the `.onnx` file.
        model: with float weights on the CPU.
        num_frames: K, how many frames the graph takes.
        number_format: of the matrices between the wide and the narrow stream; the small ones that
            make the scan's inputs stay float32.

    Returns:
        The files written: the graph's, and where loops would be worth compiling what they compute
        with.
    """
    config: VideoMambaConfig = model.config
    graph = Graph(path)
    layers = Layers(graph, number_format)
    size = config.image_size
    pixels = graph.input("pixel_values", [num_frames, config.num_channels, size, size])
    rows = _embed(layers, pixels, model.embeddings, num_frames)  # (L, D)
    mixed: str | None = None
    for block in cast(list[VideoMambaBlock], list(model.layers)):
        weight, epsilon = block.norm.weight, block.norm.eps
        if mixed is None:
            normed = layers.rms_norm(rows, weight, epsilon)
        else:
            normed, rows = layers.add_and_rms_norm(mixed, rows, weight, epsilon)
        mixed = _mix(layers, normed, block.mixer)
    assert mixed is not None  # an encoder has layers
    normed, _ = layers.add_and_rms_norm(mixed, rows, model.norm.weight, model.norm.eps)
    tokens = config.grid_size**2
    one, end, axis = (graph.constant([n]) for n in (1, 1 + num_frames * tokens, 0))
    patches = graph.node("Slice", normed, one, end, axis)
    features = layers.reshape(patches, num_frames, tokens, config.hidden_size)
    graph.output(features, "features", [num_frames, tokens, config.hidden_size])
    files = graph.save()
    if is_worthwhile(config, num_frames):
        files.append(path.with_suffix(".safetensors"))
        write_runner_tensors(files[-1], model, is_half=number_format == "int8")
    return files


def _embed(layers: Layers, pixels: str, embeddings: VideoMambaEmbeddings, num_frames: int) -> str:
    """Patch tokens frame by frame behind the class token, with positions: (1 + K * N, D)."""
    graph, conv = layers.graph, embeddings.patch_embedding
    dim = conv.out_channels
    clip = graph.node("Transpose", pixels, perm=[1, 0, 2, 3])
    clip = graph.node("Unsqueeze", clip, graph.constant([0]))  # (1, 3, K, H, W)
    planes = graph.node(
        "Conv",
        clip,
        layers.weight(conv.weight),
        layers.weight(conv.bias),
        strides=list(conv.stride),
        pads=list(conv.padding) * 2,
        kernel_shape=list(conv.kernel_size),
    )  # (1, D, K, g, g)
    patches = graph.node("Transpose", layers.reshape(planes, dim, -1), perm=[1, 0])
    space = embeddings.position_embedding.detach()[0]  # (1 + N, D)
    places = space[1:].repeat(num_frames, 1)  # (K * N, D)
    if num_frames > 1:  # a still image has no place in time
        time = embeddings.temporal_embedding.detach()[0, :num_frames]
        places = places + time.repeat_interleave(len(space) - 1, 0)
    patches = graph.node("Add", patches, layers.weight(places))
    class_token = embeddings.class_token.detach()[0] + space[:1]
    return graph.node("Concat", layers.weight(class_token), patches, axis=0)


def _mix(layers: Layers, normed: str, mixer: BidirectionalMamba) -> str:
    """The mixer on (L, D): both directions, one gate."""
    graph = layers.graph
    to_x, to_z = mixer.in_proj.weight.chunk(2)
    x, z = layers.linear(normed, to_x), layers.linear(normed, to_z)  # (L, C)
    sequence = graph.node(
        "Unsqueeze", graph.node("Transpose", x, perm=[1, 0]), graph.constant([0, 2])
    )
    both = [
        _branch(layers, sequence, branch, is_backward)
        for branch, is_backward in ((mixer.forward_branch, 0), (mixer.backward_branch, 1))
    ]
    gated = graph.node("Mul", graph.node("Add", *both), layers.silu(z))
    return layers.module(gated, mixer.out_proj)


def _branch(layers: Layers, sequence: str, branch: MambaBranch, is_backward: int) -> str:
    """One direction: (1, C, 1, L) -> (L, C). Backward reads the same rows from the other end."""
    graph = layers.graph
    u = layers.silu(_causal_conv(layers, sequence, branch, is_backward))  # (L, C)
    state_size = branch.sizes[1]
    narrow = layers.linear(u, branch.x_proj.weight, number_format="float32")
    step, state_in, state_out = graph.nodes(
        "Split", narrow, graph.constant(list(branch.sizes)), outputs=3, axis=1
    )
    to_delta = branch.dt_proj
    delta = graph.node(
        "Gemm", step, layers.weight(to_delta.weight.t()), layers.weight(to_delta.bias)
    )
    delta = _softplus(layers, delta)
    decay = -torch.exp(branch.A_log.detach().float()).t()  # (state, C)
    scanned = _scan(
        layers,
        decay,
        (
            delta,
            graph.node("Mul", delta, u),
            layers.reshape(state_in, 0, state_size, 1),
            layers.reshape(state_out, 0, 1, state_size),
        ),
        is_backward,
    )
    skipped = graph.node("Mul", u, layers.weight(branch.D))
    return graph.node("Add", layers.reshape(scanned, -1, decay.shape[1]), skipped)


def _softplus(layers: Layers, x: str) -> str:
    """`log(1 + exp(x))`, x itself from 20 on; the runtime's own operator takes twice as long."""
    graph = layers.graph
    small = graph.node("Exp", graph.node("Min", x, graph.constant(20.0)))
    curve = graph.node("Log", graph.node("Add", small, graph.constant(1.0)))
    return graph.node("Max", curve, x)


def _causal_conv(layers: Layers, sequence: str, branch: MambaBranch, is_backward: int) -> str:
    """Each channel over its own past (or future), (1, C, 1, L) -> (L, C).

    Two-dimensional, because the runtime has a fast depthwise kernel only there.
    """
    graph, conv = layers.graph, branch.conv1d
    reach = conv.kernel_size[0] - 1
    weight = conv.weight.flip(-1) if is_backward else conv.weight
    convolved = graph.node(
        "Conv",
        sequence,
        layers.weight(weight.unsqueeze(2)),
        layers.weight(conv.bias),
        group=conv.groups,
        kernel_shape=[1, reach + 1],
        pads=[0, 0, 0, reach] if is_backward else [0, reach, 0, 0],
    )
    squeezed = graph.node("Squeeze", convolved, graph.constant([0, 2]))
    return graph.node("Transpose", squeezed, perm=[1, 0])


def _scan(
    layers: Layers, decay: torch.Tensor, inputs: tuple[str, str, str, str], is_backward: int
) -> str:
    """`h = exp(delta A) h + delta u B`, `y = C h`, row by row of the inputs.

    Args:
        layers: where to.
        decay: A, (state, C).
        inputs: delta (L, C), delta u (L, C), B (L, state, 1), C (L, 1, state).
        is_backward: start at the last row.
    """
    graph = layers.graph
    state, channels = decay.shape
    rates = layers.weight(decay)  # seen from inside the loop by its name
    body = loop_body(
        [
            ("Mul", ["delta", rates], "exponent"),
            ("Exp", ["exponent"], "kept_share"),
            ("Mul", ["kept_share", "h_before"], "kept"),
            ("Mul", ["input", "B"], "added"),
            ("Add", ["kept", "added"], "h"),
            ("MatMul", ["C", "h"], "y"),
        ],
        {
            "h_before": [state, channels],
            "delta": [channels],
            "input": [channels],
            "B": [state, 1],
            "C": [1, state],
        },
        {"h": [state, channels], "y": [1, channels]},
    )
    start = layers.weight(torch.zeros(state, channels))
    return graph.nodes(
        "Scan",
        *(start, *inputs),
        outputs=2,
        body=body,
        num_scan_inputs=4,
        scan_input_directions=[is_backward] * 4,
        scan_output_directions=[is_backward],
    )[1]
