"""Layers as ONNX operators, on rows: (rows, width) in, (rows, width) out.

Quantised rows are remembered, so that the layers that read the same input quantise it once.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor, nn

from mobile_videogpt.engines.onnx.graph import CONTRIB, Graph
from mobile_videogpt.engines.onnx.weights import INT4_BLOCK, to_int4, to_int8

NumberFormat = Literal["float32", "int8", "int4"]

_ACCURACY_INT8 = 4  # MatMulNBits: inputs are rounded to int8 in blocks of 32
_ZERO = 128  # what stands for 0 among unsigned bytes


class Layers:
    """Adds layers to a graph.

    Args:
        graph: to add to.
        number_format: of the matrices of `linear`; everything else is float32.
    """

    def __init__(self, graph: Graph, number_format: NumberFormat) -> None:
        self.graph = graph
        self.number_format = number_format
        self._quantised: dict[str, tuple[str, str]] = {}

    def weight(self, tensor: Tensor | None) -> str:
        """A float32 weight; None, the bias that a layer lacks, is an input left out."""
        if tensor is None:
            return ""
        return self.graph.constant(to_numpy(tensor))

    def linear(
        self,
        rows: str,
        weight: Tensor,
        bias: Tensor | None = None,
        number_format: NumberFormat | None = None,
        int4_block: int = INT4_BLOCK,
    ) -> str:
        """`rows @ weight.T + bias`; weight is (outputs, inputs)."""
        number_format = number_format or self.number_format
        weight = weight.detach()
        if number_format == "int4":
            return self._linear_int4(rows, weight, bias, int4_block)
        if number_format == "int8":
            product = self._linear_int8(rows, weight)
        else:
            product = self.graph.node("MatMul", rows, self.weight(weight.t()))
        return product if bias is None else self.graph.node("Add", product, self.weight(bias))

    def module(self, rows: str, linear: nn.Linear) -> str:
        """A `torch.nn.Linear`."""
        return self.linear(rows, linear.weight, linear.bias)

    def _linear_int4(self, rows: str, weight: Tensor, bias: Tensor | None, block: int) -> str:
        packed, scales = to_int4(weight, block)
        inputs = [rows, self.graph.constant(packed), self.graph.constant(scales)]
        if bias is not None:
            inputs += ["", "", self.weight(bias)]
        return self.graph.node(
            "MatMulNBits",
            *inputs,
            domain=CONTRIB,
            K=weight.shape[1],
            N=weight.shape[0],
            bits=4,
            block_size=block,
            accuracy_level=_ACCURACY_INT8,
        )

    def _linear_int8(self, rows: str, weight: Tensor) -> str:
        graph = self.graph
        values, scales = to_int8(weight)
        quantised, row_scales = self._quantise_rows(rows)
        product = graph.node(
            "MatMulIntegerToFloat",
            quantised,
            graph.constant(values),
            graph.constant(1.0),
            graph.constant(scales),
            graph.constant(np.uint8(_ZERO)),
            domain=CONTRIB,
        )
        return graph.node("Mul", product, row_scales)

    def _quantise_rows(self, rows: str) -> tuple[str, str]:
        """Round each row to bytes with a scale of its own: one token's outlier is not another's.

        Returns the bytes (rows, width) and the scales (rows, 1).
        """
        if rows in self._quantised:
            return self._quantised[rows]
        graph = self.graph
        largest = graph.node("ReduceMax", graph.node("Abs", rows), graph.constant([-1]), keepdims=1)
        largest = graph.node("Max", largest, graph.constant(1e-30))  # a row of zeros
        scales = graph.node("Mul", largest, graph.constant(1 / 127))
        flat = graph.node("Reshape", scales, graph.constant([-1]))
        zeros = graph.filled(graph.node("Shape", flat), np.uint8(_ZERO))
        quantised = graph.node("QuantizeLinear", rows, flat, zeros, axis=0)
        self._quantised[rows] = quantised, scales
        return self._quantised[rows]

    def layer_norm(self, rows: str, norm: nn.LayerNorm) -> str:
        """A `torch.nn.LayerNorm`."""
        return self.graph.node(
            "LayerNormalization",
            rows,
            self.weight(norm.weight),
            self.weight(norm.bias),
            axis=-1,
            epsilon=norm.eps,
        )

    def add_and_layer_norm(self, rows: str, residual: str, norm: nn.LayerNorm) -> tuple[str, str]:
        """`norm(rows + residual)`, and the sum."""
        normed, _, _, total = self.graph.nodes(
            "SkipLayerNormalization",
            rows,
            residual,
            self.weight(norm.weight),
            self.weight(norm.bias),
            outputs=(None, "", "", None),
            domain=CONTRIB,
            epsilon=norm.eps,
        )
        return normed, total

    def rms_norm(self, rows: str, weight: Tensor, epsilon: float) -> str:
        """`rows / rms(rows) * weight`."""
        return self.graph.node(
            "SimplifiedLayerNormalization", rows, self.weight(weight), axis=-1, epsilon=epsilon
        )

    def add_and_rms_norm(
        self, rows: str, residual: str, weight: Tensor, epsilon: float
    ) -> tuple[str, str]:
        """`rms_norm(rows + residual)`, and the sum."""
        normed, _, _, total = self.graph.nodes(
            "SkipSimplifiedLayerNormalization",
            rows,
            residual,
            self.weight(weight),
            outputs=(None, "", "", None),
            domain=CONTRIB,
            epsilon=epsilon,
        )
        return normed, total

    def silu(self, rows: str) -> str:
        """`rows * sigmoid(rows)`."""
        return self.graph.node("QuickGelu", rows, domain=CONTRIB, alpha=1.0)

    def activation(self, rows: str, name: str) -> str:
        """An activation by the name that transformers gives it.

        Raises:
            ValueError: it has no operator here.
        """
        if name == "quick_gelu":
            return self.graph.node("QuickGelu", rows, domain=CONTRIB, alpha=1.702)
        if name == "gelu":
            return self.graph.node("Gelu", rows)
        if name in ("silu", "swish"):
            return self.silu(rows)
        raise ValueError(
            f"the activation {name!r} cannot be exported; quick_gelu, gelu and silu can"
        )

    def reshape(self, value: str, *shape: int) -> str:
        """Another view of the same numbers; -1 is what is left, 0 what it was."""
        return self.graph.node("Reshape", value, self.graph.constant(list(shape)))


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A weight as float32."""
    return tensor.detach().float().contiguous().numpy()
