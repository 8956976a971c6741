"""The exported language model's weights, as its graphs hold them, without ONNX Runtime.

They stay where the export put them: their file is mapped, and nothing is packed a second time. Of
a graph only the order is read in which it names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import NodeProto, ValueInfoProto

_PER_LAYER = 4  # matrices: queries, keys and values; out; gate and up; down


@dataclass(frozen=True)
class Matrix:
    """One 4-bit matrix, as `to_int4` makes it."""

    weights: np.ndarray
    """(outputs, blocks, block / 2) uint8"""
    scales: np.ndarray
    """(outputs * blocks,) float32"""
    bias: np.ndarray | None
    """(outputs,) float32"""
    width: int
    """Inputs."""

    @property
    def outputs(self) -> int:
        """How many."""
        return len(self.weights)

    @property
    def block(self) -> int:
        """Neighbours that share a scale."""
        return 2 * self.weights.shape[2]


@dataclass(frozen=True)
class StoredLanguageModel:
    """What the graph of `write_language_model` holds, in the order in which it is used."""

    matrices: list[Matrix]
    """Four of each layer, and the output matrix."""
    norms: np.ndarray
    """(2 * layers + 1, E) float32"""
    epsilon: float
    cosines: np.ndarray
    sines: np.ndarray
    """(positions, head width / 2) float32"""
    heads: int
    """Of keys, and of values."""
    width: int
    """Of a head."""
    is_coarse: bool
    """Whether the output matrix only finds candidates (see `contenders`)."""

    @property
    def layers(self) -> int:
        """Of the decoder."""
        return len(self.norms) // 2

    @staticmethod
    def read(path: Path) -> StoredLanguageModel | None:
        """Map the weights of a graph; None if its matrices are in another format."""
        graph = _StoredGraph(path)
        matrices = [graph.matrix(node) for node in graph.nodes.get("MatMulNBits", [])]
        norms = graph.norms()
        if len(matrices) != _PER_LAYER * (len(norms) // 2) + 1:
            return None
        cosines, sines = graph.turns()
        keys = [value for value in graph.inputs if value.startswith("past.0.key.")]
        return StoredLanguageModel(
            matrices=matrices,
            norms=norms,
            epsilon=graph.epsilon(),
            cosines=cosines,
            sines=sines,
            heads=len(keys),
            width=graph.inputs[keys[0]][1],
            is_coarse="states" in graph.outputs,
        )


@dataclass(frozen=True)
class Levels:
    """One 8-bit matrix, as `to_int8` makes it."""

    levels: np.ndarray
    """(inputs, outputs) int8"""
    scales: np.ndarray
    """(outputs,) float32"""


@dataclass(frozen=True)
class StoredPrefill:
    """What the graph holds that only fills the cache, in the order in which it is used."""

    matrices: list[Levels]
    """Four of each layer; of the last one the first."""
    norms: np.ndarray
    """(2 * layers - 1, E) float32"""
    biases: np.ndarray
    """(layers, QKV) float32"""
    epsilon: float
    cosines: np.ndarray
    sines: np.ndarray
    """(positions, head width / 2) float32"""
    heads: int
    """Of keys, and of values."""
    width: int
    """Of a head."""

    @property
    def layers(self) -> int:
        """Of the decoder."""
        return len(self.biases)

    @property
    def query_heads(self) -> int:
        """Of queries."""
        return self.biases.shape[1] // self.width - 2 * self.heads

    @staticmethod
    def read(path: Path) -> StoredPrefill | None:
        """Map the weights of a graph; None if its matrices are in another format."""
        graph = _StoredGraph(path)
        products = graph.nodes.get("MatMulIntegerToFloat", [])
        sums = [node.input[1] for node in graph.nodes.get("Add", [])]
        norms = graph.norms()
        if not sums or len(products) != _PER_LAYER * (len(sums) - 1) + 1:
            return None
        cosines, sines = graph.turns()
        _, heads, _, width = graph.inputs["past.0.key"]
        return StoredPrefill(
            matrices=[Levels(*map(graph.array, (n.input[1], n.input[3]))) for n in products],
            norms=norms,
            biases=np.stack([graph.array(name) for name in sums]),
            epsilon=graph.epsilon(),
            cosines=cosines,
            sines=sines,
            heads=heads,
            width=width,
        )


class _StoredGraph:
    """A graph's nodes by operator, in their order, and its constants; large ones are mapped."""

    def __init__(self, path: Path) -> None:
        import onnx

        graph = onnx.load(str(path), load_external_data=False).graph
        self._folder = path.parent
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._files: dict[str, np.memmap] = {}
        self.nodes: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            self.nodes.setdefault(node.op_type, []).append(node)
        self.inputs = {value.name: _shape(value) for value in graph.input}
        self.outputs = {value.name for value in graph.output}

    def norms(self) -> np.ndarray:
        """Weights of all RMS norms, (norms, E): one stands alone, the others add a residual."""
        names = [node.input[1] for node in self.nodes["SimplifiedLayerNormalization"]]
        names += [node.input[2] for node in self.nodes["SkipSimplifiedLayerNormalization"]]
        return np.stack([self.array(name) for name in names])

    def epsilon(self) -> float:
        """Of the norms."""
        return _attributes(self.nodes["SimplifiedLayerNormalization"][0])["epsilon"]

    def turns(self) -> list[np.ndarray]:
        """Cosines and sines of the rotary positions."""
        return [self.array(name) for name in self.nodes["RotaryEmbedding"][0].input[2:4]]

    def array(self, name: str) -> np.ndarray:
        """A constant by its name."""
        from onnx import helper, numpy_helper

        tensor = self._tensors[name]
        if not tensor.external_data:
            return numpy_helper.to_array(tensor)
        place = {entry.key: entry.value for entry in tensor.external_data}
        file, start = place["location"], int(place["offset"])
        if file not in self._files:
            self._files[file] = np.memmap(self._folder / file, np.uint8, "r")
        content = self._files[file][start : start + int(place["length"])]
        if len(content) < int(place["length"]):
            raise ValueError(f"{self._folder / file} is cut off; export the model again")
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        return content.view(dtype).reshape(tuple(tensor.dims))

    def matrix(self, node: NodeProto) -> Matrix:
        """The weights of a `MatMulNBits`, whose sixth input is a bias."""
        _, weights, scales, _, _, bias = [*node.input, "", "", ""][:6]
        return Matrix(
            weights=self.array(weights),
            scales=self.array(scales).reshape(-1),
            bias=self.array(bias) if bias else None,
            width=_attributes(node)["K"],
        )


def _shape(value: ValueInfoProto) -> list[int]:
    """0 where a size varies."""
    return [size.dim_value for size in value.type.tensor_type.shape.dim]


def _attributes(node: NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {item.name: helper.get_attribute_value(item) for item in node.attribute}
