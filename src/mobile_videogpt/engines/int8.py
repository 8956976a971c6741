"""Linear layers in 8-bit integers on a CPU: a quarter of the memory, several times the speed.

A weight keeps one scale per output channel, rounded once; an activation gets one scale per token,
found anew at every call, because the largest values of a language model's tokens differ by orders
of magnitude. With `q = round(x / r)` and `w = round(W / s)` a product is `(q w^T) r s`; its sum
runs in 32-bit integers, without error.

oneDNN multiplies unsigned by signed bytes, hence the zero point of 128. On processors without VNNI
its 16-bit sums overflow: there, and where oneDNN is missing, the weight is widened to the
activation's format at every call, which saves the memory only. Norms, attention, embeddings' sums
and everything that is not a matrix of weights stay in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 127
ZERO_POINT = 128
ROWS_AT_ONCE = 256  # tokens whose intermediate values fit the L2 cache
SMALLEST = 1e-30  # a row of zeros has no scale


@cache
def has_int8_kernel() -> bool:
    """Whether oneDNN's product of bytes exists here and is exact at the largest values."""
    try:
        left = torch.full((2, 256), 255, dtype=torch.uint8)
        weight = torch.full((32, 256), LEVELS, dtype=torch.int8)
        product = _multiply(left, _pack(weight), torch.ones(32), torch.zeros(32, dtype=torch.int32))
        return bool((product == (255 - ZERO_POINT) * LEVELS * 256).all())
    except (AttributeError, RuntimeError):
        return False


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(N, K) -> int8 (N, K) and float32 scales (N,) with `weight` close to their product."""
    rows, scales = torch.empty_like(weight, dtype=torch.int8), []
    # In slices: an embedding's copy in float32 would be the peak of the whole program.
    for part, target in zip(weight.split(1024), rows.split(1024), strict=True):
        part = part.float()
        scale = part.abs().amax(1, keepdim=True).clamp_(min=SMALLEST) / LEVELS
        target.copy_((part / scale).round_())
        scales.append(scale[:, 0])
    return rows, torch.cat(scales)


def quantize_tokens(x: Tensor) -> tuple[Tensor, Tensor]:
    """(M, K) -> uint8 (M, K) around 128, and a scale per row, (M, 1)."""
    scale = torch.maximum(x.amax(1, keepdim=True), x.amin(1, keepdim=True).neg_())
    scale = scale.clamp_(min=SMALLEST).div_(LEVELS)
    levels = (x * scale.reciprocal()).round_().to(torch.int8)
    return levels.view(torch.uint8).bitwise_xor_(ZERO_POINT), scale


class Int8Linear(nn.Module):
    """`x W^T + b` with W in 8 bits; float32 in, float32 out.

    Args:
        levels: int8 (N, K).
        scale: (N,).
        bias: (N,), or None.
    """

    def __init__(self, levels: Tensor, scale: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = levels.shape
        self.scale: Tensor
        self.bias: Tensor | None
        self.levels: Tensor | None
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().float())
        self.is_packed = levels.device.type == "cpu" and has_int8_kernel()
        self.register_buffer("levels", None if self.is_packed else levels)
        # Not a buffer: the packed form is oneDNN's own and cannot be read.
        self._packed = _pack(levels) if self.is_packed else None
        self._zeros = torch.zeros(self.out_features, dtype=torch.int32)

    @classmethod
    @torch.no_grad()
    def from_linear(cls, linear: nn.Linear) -> Int8Linear:
        """Quantise a layer's weight."""
        return cls(*quantize_weight(linear.weight.detach()), linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., K) to (..., N)."""
        if not self.is_packed:
            return self._widened(x)
        rows = x.reshape(-1, self.in_features)
        if len(rows) <= ROWS_AT_ONCE:
            return self.finish(*self.raw(rows)).view(*x.shape[:-1], self.out_features)
        y = x.new_empty(len(rows), self.out_features)
        for first in range(0, len(rows), ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            y[some] = self.finish(*self.raw(rows[some]))
        return y.view(*x.shape[:-1], self.out_features)

    def raw(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise (M, K); see `times`."""
        levels, scale = quantize_tokens(rows)
        return self.times(levels), scale

    def times(self, levels: Tensor) -> Tensor:
        """uint8 (M, K) -> (M, N), which lacks the scales of the rows and the bias."""
        return _multiply(levels, self._packed, self.scale, self._zeros)

    def finish(self, product: Tensor, scale: Tensor) -> Tensor:
        """Put in, in place, what `times` leaves out."""
        product.mul_(scale)
        return product if self.bias is None else product.add_(self.bias)

    def _widened(self, x: Tensor) -> Tensor:
        assert self.levels is not None
        product = F.linear(x, self.levels.to(x.dtype)) * self.scale.to(x.dtype)
        return product if self.bias is None else product + self.bias.to(x.dtype)

    def extra_repr(self) -> str:
        """As `nn.Linear` shows itself, and how it is computed."""
        kind = "oneDNN" if self.is_packed else "widened"
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, {kind}"


class Int8Embedding(nn.Module):
    """An embedding whose rows are 8-bit integers with a scale each."""

    def __init__(self, levels: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.levels: Tensor
        self.scale: Tensor
        self.register_buffer("levels", levels)
        self.register_buffer("scale", scale)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (...) to float32 (..., E)."""
        return self.levels[ids] * self.scale[ids].unsqueeze(-1)


def project(rows: Tensor, linears: Sequence[nn.Module]) -> list[Tensor]:
    """What several layers make of the same (M, K), which is quantised once."""
    if not all(isinstance(linear, Int8Linear) and linear.is_packed for linear in linears):
        return [linear(rows) for linear in linears]
    levels, scale = quantize_tokens(rows)
    return [linear.finish(linear.times(levels), scale) for linear in linears]  # type: ignore[operator]


def gated_mlp(rows: Tensor, gate: nn.Module, up: nn.Module, down: nn.Module) -> Tensor:
    """`down(silu(gate(x)) * up(x))` of (M, K).

    In 8 bits the scale of a row of `up(x)` is put in last: it does not change how the product is
    rounded.
    """
    if not all(isinstance(linear, Int8Linear) and linear.is_packed for linear in (gate, up, down)):
        return down(F.silu(gate(rows)).mul_(up(rows)))
    levels, scale = quantize_tokens(rows)
    gated = gate.times(levels).mul_(scale)  # type: ignore[operator]
    inner = F.silu(gated, inplace=True).mul_(up.times(levels))  # type: ignore[operator]
    product, inner_scale = down.raw(inner)  # type: ignore[operator]
    return down.finish(product, inner_scale.mul_(scale))  # type: ignore[operator]


def quantize_module(model: nn.Module, name: str) -> None:
    """Give the module `name` of a Mobile-VideoGPT the form it has in an int8 model.

    8 bits are for the matrices of the language model, its embedding, and of the image encoder's
    layers. What else there is becomes float32, the video encoder and the projectors too: their
    matrices are small beside what is computed with them.
    """
    module = model.get_submodule(name)
    if isinstance(module, nn.Linear) and name.startswith(
        ("language_model.", "image_encoder.encoder.layers.")
    ):
        model.set_submodule(name, Int8Linear.from_linear(module))
    elif isinstance(module, nn.Embedding) and name.startswith("language_model."):
        levels, scale = quantize_weight(module.weight.detach())
        model.set_submodule(name, Int8Embedding(levels, scale))
        if model.config.text_config.tie_word_embeddings:  # type: ignore[union-attr]
            model.set_submodule("language_model.lm_head", Int8Linear(levels, scale))
    else:
        for weight in module.parameters(recurse=False):
            weight.data = weight.data.float()


def _pack(levels: Tensor) -> Any:
    return torch.ops.onednn.qlinear_prepack(levels, None)


def _multiply(left: Tensor, packed: Any, scale: Tensor, zeros: Tensor) -> Tensor:
    """float32 (M, N): `(left - 128) W^T` times W's scales."""
    return torch.ops.onednn.qlinear_pointwise(
        *(left, 1.0, ZERO_POINT, packed, scale, zeros, None),
        *(1.0, 0, torch.float32, "none", [], ""),
    )
