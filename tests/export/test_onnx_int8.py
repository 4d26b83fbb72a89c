"""Paddings of an int8 network in ONNX: in integers, and with the same outputs."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from virtualpool.export.onnx_int8 import pad_as_integers

FLOAT, INT = TensorProto.FLOAT, TensorProto.UINT8


def network(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A map x of 2x2, quantised and dequantised to y, and what follows up to z."""
    numbers = {"scale": 0.5, "zero": np.uint8(3), "ends": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    values = [
        onnx.numpy_helper.from_array(
            np.asarray(value, np.float32 if isinstance(value, float) else None), name
        )
        for name, value in numbers.items()
    ]
    first = pair("x", "y")
    graph = helper.make_graph(
        [*first, *nodes],
        "paddings",
        [helper.make_tensor_value_info("x", FLOAT, [1, 1, 2, 2])],
        [helper.make_tensor_value_info("z", FLOAT, None)],
        values,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def pair(given: str, result: str) -> list[onnx.NodeProto]:
    """Quantised and dequantised."""
    return [
        helper.make_node("QuantizeLinear", [given, "scale", "zero"], [f"{result} int"]),
        helper.make_node("DequantizeLinear", [f"{result} int", "scale", "zero"], [result]),
    ]


def node(kind: str, *inputs: str, result: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [result], **attributes)


PADDED = node("Pad", "y", "ends", result="padded", mode="edge")
ZEROS = node("Pad", "y", "ends", result="padded")
CUT = node("AveragePool", "p", result="cut", kernel_shape=[3, 3])
SKIP = node("Relu", "y", result="skip")
SUM = node("Add", "cut", "skip", result="z")

NETWORKS = {
    "alone": ([PADDED, *pair("padded", "p"), node("Neg", "p", result="z")], 2),
    "of zeros": ([ZEROS, *pair("padded", "p"), node("Neg", "p", result="z")], 4),
    "a skip after it": ([PADDED, *pair("padded", "p"), CUT, SKIP, SUM], 3),
    "a skip before it": ([SKIP, PADDED, *pair("padded", "p"), CUT, SUM], 3),
    "read twice": (
        [PADDED, *pair("padded", "p"), node("Relu", "padded", result="r"),
         node("Add", "p", "r", result="z")], 4,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "pairs"), NETWORKS.values(), ids=NETWORKS)
def test_paddings_in_integers_change_no_output(nodes, pairs):
    made = network(*nodes)
    x = np.array([[[[-1.2, 3.0], [0.4, 7.7]]]], np.float32)
    [expected] = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": x})
    pad_as_integers(made)
    [found] = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": x})
    np.testing.assert_array_equal(found, expected)
    kinds = [each.op_type for each in made.graph.node]
    assert kinds.count("QuantizeLinear") + kinds.count("DequantizeLinear") == pairs
