"""Writes one ONNX graph: nodes are added by name, weights go to disk as they are added.

The graphs are written by hand, operator by operator, instead of being traced: only so can they use
the operators that make ONNX Runtime fast (attention with a shared cache, 4-bit matrices, fused
norms), and an export takes seconds and hardly more memory than the largest weight.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto

# `onnx.TensorProto`'s numbers; the package itself is imported where a graph is written.
FLOAT, UINT8, INT32, INT64 = 1, 2, 6, 7
OPSET = 21
IR_VERSION = 10  # what ONNX Runtime 1.20 reads
CONTRIB = "com.microsoft"
ALIGNMENT = 4096  # a page, so that the runtime can map weights instead of reading them
_INLINE_BYTES = 1024  # smaller constants stay in the graph: shape inference needs their values


class Graph:
    """A graph in the making.

    Args:
        path: of the `.onnx` file; weights are streamed to `path` with `.data` appended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data_path = path.with_name(path.name + ".data")
        self._data = self._data_path.open("wb")
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._names = 0
        self._constants: dict[bytes, str] = {}

    def input(self, name: str, shape: Sequence[int | str], dtype: int = FLOAT) -> str:
        """Declare an input; a string in `shape` names a size that varies."""
        self._inputs.append(_value(name, shape, dtype))
        return name

    def output(self, value: str, name: str, shape: Sequence[int | str], dtype: int = FLOAT) -> None:
        """Give `value` out under `name`."""
        if value != name:
            self.nodes("Identity", value, outputs=[name])
        self._outputs.append(_value(name, shape, dtype))

    def constant(self, array: np.ndarray | np.generic | float | Sequence[int]) -> str:
        """Store a weight; equal ones are stored once.

        Numbers without a type become float32 (float) and int64 (int).
        """
        values = np.array(array, dtype=np.float32 if isinstance(array, float) else None, order="C")
        digest = hashlib.sha256(f"{values.dtype}{values.shape}".encode())
        digest.update(values.data if values.ndim else values.tobytes())
        key = digest.digest()
        if key not in self._constants:
            self._constants[key] = name = f"w{len(self._constants)}"
            self._initializers.append(self._store(name, values))
        return self._constants[key]

    def _store(self, name: str, values: np.ndarray) -> TensorProto:
        from onnx import TensorProto, helper

        dtype = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor = TensorProto(name=name, data_type=dtype, dims=values.shape)
        if values.nbytes <= _INLINE_BYTES:
            tensor.raw_data = values.tobytes()
            return tensor
        self._data.write(b"\0" * (-self._data.tell() % ALIGNMENT))
        place = {
            "location": self._data_path.name,
            "offset": str(self._data.tell()),
            "length": str(values.nbytes),
        }
        self._data.write(values.data)
        tensor.data_location = TensorProto.EXTERNAL
        for field, value in place.items():
            tensor.external_data.add(key=field, value=value)
        return tensor

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output, and return the output's name."""
        return self.nodes(operator, *inputs, outputs=1, domain=domain, **attributes)[0]

    def nodes(
        self,
        operator: str,
        *inputs: str,
        outputs: int | Sequence[str | None],
        domain: str = "",
        **attributes: Any,
    ) -> list[str]:
        """Add an operator.

        Args:
            operator: its name.
            inputs: names of values; "" for one that is left out.
            outputs: how many, or one item each: a name of its own, "" for an output that is not
                wanted, None for any name.
            domain: `CONTRIB` for ONNX Runtime's own operators.
            attributes: the operator's.
        """
        from onnx import helper

        wanted = [None] * outputs if isinstance(outputs, int) else outputs
        names = [self._new_name() if name is None else name for name in wanted]
        self._nodes.append(
            helper.make_node(operator, list(inputs), names, domain=domain, **attributes)
        )
        return names

    def filled(self, shape: str, value: np.generic) -> str:
        """A tensor whose shape is known when the graph runs, filled with one value."""
        from onnx import numpy_helper

        tensor = numpy_helper.from_array(np.array([value]))
        return self.node("ConstantOfShape", shape, value=tensor)

    def _new_name(self) -> str:
        self._names += 1
        return f"v{self._names}"

    def save(self) -> list[Path]:
        """Write the graph; return the files that it consists of."""
        from onnx import helper

        self._data.close()
        graph = helper.make_graph(
            self._nodes, self.path.stem, self._inputs, self._outputs, self._initializers
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        self.path.write_bytes(model.SerializeToString())
        if not self._data_path.stat().st_size:
            self._data_path.unlink()
            return [self.path]
        return [self.path, self._data_path]


def loop_body(
    steps: Sequence[tuple[str, Sequence[str], str]],
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
) -> GraphProto:
    """The inside of a `Scan`: (operator, inputs, output) steps on float32 values.

    Args:
        steps: in order; they may name values of the graph around.
        inputs: names and shapes, the state first.
        outputs: names and shapes, the state first.
    """
    from onnx import helper

    nodes = [helper.make_node(operator, list(names), [name]) for operator, names, name in steps]
    values = [[_value(name, shape) for name, shape in ends.items()] for ends in (inputs, outputs)]
    return helper.make_graph(nodes, "step", *values)


def _value(name: str, shape: Sequence[int | str], dtype: int = FLOAT) -> ValueInfoProto:
    from onnx import helper

    return helper.make_tensor_value_info(name, dtype, list(shape))
