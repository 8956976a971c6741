"""The exported language model's 4-bit weights, as its graph holds them, without ONNX Runtime.

They stay where the export put them: their file is mapped, and nothing is packed a second time. Of
the graph only the order is read in which it names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

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
        import onnx

        model = onnx.load(str(path), load_external_data=False)
        constants = _Constants(path.parent, model)
        nodes: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            nodes.setdefault(node.op_type, []).append(node)
        first = nodes.get("SimplifiedLayerNormalization", [])
        norms = [node.input[1] for node in first]
        norms += [node.input[2] for node in nodes.get("SkipSimplifiedLayerNormalization", [])]
        matrices = [constants.matrix(node) for node in nodes.get("MatMulNBits", [])]
        if len(first) != 1 or len(matrices) != _PER_LAYER * (len(norms) // 2) + 1:
            return None
        cosines, sines = map(constants.array, nodes["RotaryEmbedding"][0].input[2:4])
        heads, width = _sizes_of_cache(model)
        return StoredLanguageModel(
            matrices=matrices,
            norms=np.stack([constants.array(name) for name in norms]),
            epsilon=_attributes(first[0])["epsilon"],
            cosines=cosines,
            sines=sines,
            heads=heads,
            width=width,
            is_coarse=any(output.name == "states" for output in model.graph.output),
        )


def _sizes_of_cache(model: ModelProto) -> tuple[int, int]:
    """How many heads of keys, and how wide they are; of inputs named past.LAYER.key.HEAD."""
    keys = [value for value in model.graph.input if value.name.startswith("past.0.key.")]
    return len(keys), keys[0].type.tensor_type.shape.dim[1].dim_value


class _Constants:
    """The constants of a graph; large ones are mapped."""

    def __init__(self, folder: Path, model: ModelProto) -> None:
        self._folder = folder
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._files: dict[str, np.memmap] = {}

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


def _attributes(node: NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {item.name: helper.get_attribute_value(item) for item in node.attribute}
