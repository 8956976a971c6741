"""Qwen2 on a CPU without the overhead of general code: the same layers in fewer, larger steps.

It reads the weights of a `transformers.Qwen2ForCausalLM` and gives what its forward gives; the
tests compare the two. What it saves: intermediate values of a few hundred tokens at a time stay in
the processor's cache; keys of a group of heads are read once; the last layer computes only the
positions that are asked for; a decoding step is some fifteen calls per layer.

Left to transformers, by `Qwen2Runner.fits`: other models, adapters that wrap layers, sliding
windows, GPUs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Qwen2ForCausalLM
from transformers.cache_utils import Cache

from mobile_videogpt.engines.devices import has_bfloat16_units
from mobile_videogpt.engines.int8 import ROWS_AT_ONCE, Int8Linear, gated_mlp, project


class Qwen2Runner:
    """Runs a language model that `fits`.

    Args:
        language_model: in float32, its linear layers possibly in 8 bits, on the CPU.
    """

    def __init__(self, language_model: Qwen2ForCausalLM) -> None:
        config = language_model.config
        self._model = language_model.model
        self._lm_head = language_model.lm_head
        self._heads = config.num_attention_heads
        self._kv_heads = config.num_key_value_heads
        attention = self._model.layers[0].self_attn
        self._width = attention.head_dim
        # Many tokens' attention. In an 8-bit model numbers were rounded more than this before.
        is_rounded = isinstance(attention.q_proj, Int8Linear) and has_bfloat16_units()
        self._attends_in = torch.bfloat16 if is_rounded else torch.float32

    @staticmethod
    def fits(language_model: Any) -> bool:
        """Whether every layer of the model is what this class computes."""
        if type(language_model) is not Qwen2ForCausalLM or language_model.device.type != "cpu":
            return False
        config, decoder = language_model.config, language_model.model
        linears = [
            linear
            for layer in decoder.layers
            for linear in (
                *(layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
                *(layer.self_attn.o_proj, layer.mlp.gate_proj, layer.mlp.up_proj),
                layer.mlp.down_proj,
            )
        ]
        return (
            config.hidden_act == "silu"
            and not decoder.has_sliding_layers
            and decoder.norm.weight.dtype == torch.float32
            and all(type(linear) in (nn.Linear, Int8Linear) for linear in linears)
            and not any(m._forward_hooks or m._forward_pre_hooks for m in linears)
        )

    @torch.inference_mode()
    def read(
        self, embeds: Tensor, cache: Cache, positions: Tensor | None = None, logits: str = "last"
    ) -> Tensor:
        """Read tokens after what `cache` holds, and extend it.

        Args:
            embeds: (B, L, E).
            cache: keys and values of B rows.
            positions: (1, L); None: from where the cache ends.
            logits: "none" to fill the cache only, "last" for the last position, "all".

        Returns:
            (B, 0, 1 or L, V).
        """
        batch, length, _ = embeds.shape
        if positions is None:
            start = cache.get_seq_length()
            positions = torch.arange(start, start + length)[None]
        rotation = _halves(*self._model.rotary_emb(embeds, positions))
        hidden = embeds.flatten(0, 1).clone()  # (B * L, E), the residual stream
        last = len(self._model.layers) - 1
        for index, layer in enumerate(self._model.layers):
            if index < last or logits == "all":
                self._layer(layer, hidden, rotation, cache, index, batch)
        if logits == "all":
            return self._logits(hidden).unflatten(0, (batch, length))
        return self._last_layer(hidden, rotation, cache, batch, logits == "last")

    def _layer(
        self,
        layer: Any,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor],
        cache: Cache,
        index: int,
        batch: int,
    ) -> None:
        """One decoder layer, in place on the residual stream (B * L, E)."""
        attention, length = layer.self_attn, len(hidden) // batch
        linears = (attention.q_proj, attention.k_proj, attention.v_proj)
        q, k, v = _in_parts(hidden, lambda x: project(_norm(x, layer.input_layernorm), linears))
        q = self._rotated(q, self._heads, rotation, batch)
        keys, values = self._remember(k, v, rotation, cache, index, batch)
        attended = self._attend(q, keys, values, length).reshape(len(hidden), -1)
        self._finish(layer, hidden, attended)

    def _last_layer(
        self,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor],
        cache: Cache,
        batch: int,
        wants_logits: bool,
    ) -> Tensor:
        """The last layer, where only keys and values of every position matter."""
        index = len(self._model.layers) - 1
        layer = self._model.layers[index]
        attention, length = layer.self_attn, len(hidden) // batch
        linears = (attention.k_proj, attention.v_proj)
        k, v = _in_parts(hidden, lambda x: project(_norm(x, layer.input_layernorm), linears))
        keys, values = self._remember(k, v, rotation, cache, index, batch)
        if not wants_logits:
            return hidden.new_empty(batch, 0, self._model.vocab_size)
        ends = hidden.unflatten(0, (batch, length))[:, -1].contiguous()  # (B, E)
        q = project(_norm(ends, layer.input_layernorm), (attention.q_proj,))[0]
        at_end = (rotation[0][:, -1:], rotation[1][:, -1:])
        q = self._rotated(q, self._heads, at_end, batch)
        self._finish(layer, ends, self._attend(q, keys, values, 1).reshape(batch, -1))
        return self._logits(ends).unsqueeze(1)

    def _remember(
        self,
        k: Tensor,
        v: Tensor,
        rotation: tuple[Tensor, Tensor],
        cache: Cache,
        index: int,
        batch: int,
    ) -> tuple[Tensor, Tensor]:
        """Rotate the new keys; all keys and values, (B, kv heads, T, D) each."""
        keys = self._rotated(k, self._kv_heads, rotation, batch)
        values = v.view(batch, -1, self._kv_heads, self._width).transpose(1, 2)
        return cache.update(keys, values, index)

    def _rotated(
        self, x: Tensor, heads: int, rotation: tuple[Tensor, Tensor], batch: int
    ) -> Tensor:
        """Rotary positions: (B * L, heads * D) -> (B, heads, L, D)."""
        cos, sin = rotation
        x = x.view(batch, -1, heads, self._width)
        first, second = x.chunk(2, dim=-1)
        rotated = torch.empty_like(x)
        left, right = rotated.chunk(2, dim=-1)
        torch.mul(first, cos, out=left).addcmul_(second, sin, value=-1)
        torch.mul(second, cos, out=right).addcmul_(first, sin)
        return rotated.transpose(1, 2)

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor, length: int) -> Tensor:
        """Causal attention of the last `length` positions: -> (B, L, heads, D)."""
        batch, total = len(keys), keys.shape[2]
        if length == 1:
            # The heads of a group stand as queries of one head: its keys are read once.
            grouped = q.reshape(batch, self._kv_heads, -1, self._width)
            return F.scaled_dot_product_attention(grouped, keys, values).view(batch, 1, -1)
        mask = None
        if length < total:
            mask = torch.ones(length, total, dtype=torch.bool).tril(total - length)
        q, keys, values = (x.to(self._attends_in) for x in (q, keys, values))
        attended = F.scaled_dot_product_attention(
            q, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=True
        )
        return attended.float().transpose(1, 2)

    def _finish(self, layer: Any, hidden: Tensor, attended: Tensor) -> None:
        """Output projection and MLP, added to the residual stream in place."""
        mlp, projection = layer.mlp, layer.self_attn.o_proj
        for x, y in zip(hidden.split(ROWS_AT_ONCE), attended.split(ROWS_AT_ONCE), strict=True):
            x.add_(project(y, (projection,))[0])
            normed = _norm(x, layer.post_attention_layernorm)
            x.add_(gated_mlp(normed, mlp.gate_proj, mlp.up_proj, mlp.down_proj))

    def _logits(self, hidden: Tensor) -> Tensor:
        return project(_norm(hidden, self._model.norm), (self._lm_head,))[0]


def _norm(x: Tensor, norm: Any) -> Tensor:
    """RMS norm of (M, E)."""
    scale = x.square().mean(-1, keepdim=True).add_(norm.variance_epsilon).rsqrt_()
    return (x * scale).mul_(norm.weight)


def _halves(cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """(1, L, D) each, whose halves are equal -> (1, L, 1, D / 2) each."""
    return cos.chunk(2, -1)[0].unsqueeze(2), sin.chunk(2, -1)[0].unsqueeze(2)


def _in_parts(x: Tensor, function: Any) -> list[Tensor]:
    """Apply a function that returns several tensors to a few hundred rows at a time."""
    if len(x) <= ROWS_AT_ONCE:
        return function(x)
    parts = [function(part) for part in x.split(ROWS_AT_ONCE)]
    return [torch.cat(pieces) for pieces in zip(*parts, strict=True)]
