"""FLOPs and bytes of each part, from the configuration: what must be computed, however it is done.

Only matrix products and convolutions count (a multiplication and an addition are two), and bytes
are each weight once plus the key-value cache: less is not possible. Softmax, norms, activations and
the selective scan's own arithmetic come on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cost:
    """The least that a part has to do."""

    flops: float
    weights: float
    """Parameters that are read."""
    state_bytes: float = 0.0
    """What is read besides the weights: the key-value cache, as float32."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flops + other.flops,
            self.weights + other.weights,
            self.state_bytes + other.state_bytes,
        )


def part_costs(config: Any, prompt: int) -> dict[str, Cost]:
    """The cost of every part of a `MobileVideoGPTConfig`; `decode_token` is one decoding step.

    Args:
        config: of the whole model.
        prompt: tokens of the prompt, visual ones included (fewer where tokens are merged).
    """
    return {
        "image_encoder": image_encoder_cost(config),
        "selection": selection_cost(config),
        "video_encoder": video_encoder_cost(config),
        "projectors": projectors_cost(config),
        "prefill": prefill_cost(config.text_config, prompt),
        "decode_token": decode_cost(config.text_config, prompt),
    }


def linear(rows: float, inputs: int, outputs: int) -> Cost:
    """`rows` vectors through one linear layer."""
    return Cost(2.0 * rows * inputs * outputs, float(inputs * outputs))


def image_encoder_cost(config: Any) -> Cost:
    """CLIP up to the layer whose features are used, over all sampled frames."""
    vision, frames = config.image_config, config.num_frames
    patches = config.image_grid**2
    tokens, width = patches + 1, vision.hidden_size
    depth = range(vision.num_hidden_layers + 1)[config.image_feature_layer]
    rows = frames * tokens
    layer = linear(rows, width, 4 * width) + linear(rows, width, 2 * vision.intermediate_size)
    attention = Cost(4.0 * frames * tokens**2 * width, 0)
    embed = linear(frames * patches, 3 * vision.patch_size**2, width)
    return sum((layer + attention for _ in range(depth)), embed)


def selection_cost(config: Any) -> Cost:
    """Equation 3: every token of a chunk against every other; uniform selection is free."""
    if config.frame_selection == "uniform":
        return Cost(0, 0)
    patches, width = config.image_grid**2, config.image_config.hidden_size
    is_global = config.frame_selection == "global"
    chunks = 1 if is_global else config.num_chunks
    tokens = config.num_frames // chunks * patches
    return Cost(2.0 * chunks * tokens**2 * width, 0)


def video_encoder_cost(config: Any) -> Cost:
    """VideoMamba over all key frames as one sequence."""
    video = config.video_config
    patches = config.num_kept_frames * video.grid_size**2
    embed = linear(patches, 3 * video.temporal_kernel * video.patch_size**2, video.hidden_size)
    products = sum((linear(*shape) for shape in mamba_products(config)), Cost(0, 0))
    channels = video.intermediate_size
    convolutions = linear(2 * (patches + 1), video.conv_kernel, channels)
    layer = products + convolutions
    return Cost(
        embed.flops + video.num_hidden_layers * layer.flops,
        embed.weights + video.num_hidden_layers * layer.weights,
    )


def mamba_products(config: Any) -> list[tuple[int, int, int]]:
    """(rows, inputs, outputs) of every linear layer in one block of the video encoder."""
    video = config.video_config
    length = 1 + config.num_kept_frames * video.grid_size**2
    channels, dim = video.intermediate_size, video.hidden_size
    branch = [
        (length, channels, video.dt_rank + 2 * video.state_size),
        (length, video.dt_rank, channels),
    ]
    return [(length, dim, 2 * channels), *branch, *branch, (length, channels, dim)]


def projectors_cost(config: Any) -> Cost:
    """Both feed-forward networks (equation 5); they run before the pooling of their tokens."""
    width = config.text_config.hidden_size
    images = config.num_frames * config.image_grid**2
    videos = config.num_kept_frames * config.video_config.grid_size**2
    if config.video_token_layout == "released":
        videos = config.num_kept_frames * config.video_pool_grid**2
    cost = Cost(0, 0)
    sizes = ((images, config.image_config.hidden_size), (videos, config.video_config.hidden_size))
    for rows, inputs in sizes:
        cost += linear(rows, inputs, width) + linear(rows, width, width)
    return cost


def language_layers(text: Any, rows: float) -> Cost:
    """The linear layers of all blocks, without the head."""
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    queries = text.num_attention_heads * head_dim
    keys = text.num_key_value_heads * head_dim
    width = text.hidden_size
    layer = linear(rows, width, queries + 2 * keys) + linear(rows, queries, width)
    layer += linear(rows, width, 3 * text.intermediate_size)
    number = text.num_hidden_layers
    return Cost(number * layer.flops, number * layer.weights)


def prefill_cost(text: Any, prompt: int) -> Cost:
    """Reading the prompt: causal attention is half of a square; the head sees the last token."""
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    width = text.num_attention_heads * head_dim
    attention = Cost(2.0 * text.num_hidden_layers * prompt**2 * width, 0)
    return language_layers(text, prompt) + attention + linear(1, text.hidden_size, text.vocab_size)


def decode_cost(text: Any, context: int) -> Cost:
    """One more token after `context`: all weights and the whole key-value cache are read."""
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    layers = text.num_hidden_layers
    attention = 4.0 * layers * context * text.num_attention_heads * head_dim
    cache = 2.0 * 4 * layers * context * text.num_key_value_heads * head_dim
    return (
        language_layers(text, 1)
        + linear(1, text.hidden_size, text.vocab_size)
        + Cost(attention, 0, cache)
    )


BYTES_PER_WEIGHT = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0, "int4": 0.5625}
"""int4 in blocks of 32 carries a float16 scale for each block."""


def least_seconds(cost: Cost, number_format: str, ceiling: dict[str, Any]) -> float | None:
    """The time that this machine needs at least: products and memory may overlap, so the longer.

    None if the format's matrix products were not measured (int4 weights are multiplied as int8).
    """
    gflops = ceiling["matmul_gflops"].get("int8" if number_format == "int4" else number_format)
    if not gflops:
        return None
    moved = cost.weights * BYTES_PER_WEIGHT[number_format] + cost.state_bytes
    return max(cost.flops / (1e9 * gflops), moved / (1e9 * ceiling["memory_gb_s"]))
