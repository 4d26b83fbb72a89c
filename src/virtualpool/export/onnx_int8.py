"""Int8 for ONNX Runtime: static quantisation of an ONNX file, calibrated with images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from virtualpool.export.arrays import arrays_of


def quantise(source: Path, target: Path, batches: Sequence[Any]) -> None:
    """Writes the int8 network of a float one.

    Args:
        source: an ONNX file.
        target: where to.
        batches: inputs to calibrate with, such as images (N, 3, H, W) in float32.
    """
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared)
    names = [each.name for each in onnx.load(source, load_external_data=False).graph.input]
    quantize_static(
        prepared,
        target,
        _Inputs(names, batches),
        per_channel=True,
        # Of int8 ONNX Runtime makes uint8 on x86, but not in constants: products then stay float.
        activation_type=QuantType.QUInt8,
    )
    network = onnx.load(target)
    pad_as_integers(network)
    onnx.save(network, target)


class _Inputs(CalibrationDataReader):
    def __init__(self, names: list[str], batches: Sequence[Any]) -> None:
        self._batches: Iterator[dict[str, Any]] = (
            dict(zip(names, arrays_of(batch), strict=True)) for batch in batches
        )

    def get_next(self) -> Any:
        """See `CalibrationDataReader`."""
        return next(self._batches, None)


def pad_as_integers(network: onnx.ModelProto) -> None:
    """Takes each Pad out of its pair of a DequantizeLinear and a QuantizeLinear of one scale.

    ONNX Runtime does so for other operations that only move values, but pads in float. A Pad that
    puts in zeros stays, for the integer that stands for zero may be another.
    """
    graph = network.graph
    made_by = {output: node for node in graph.node for output in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for pad in [node for node in graph.node if _repeats_the_edge(node)]:
        before, after = made_by.get(pad.input[0]), readers.get(pad.output[0], [])
        if before is None or len(after) != 1 or not _is_pair(before, after[0], graph):
            continue
        readers[pad.input[0]].remove(pad)
        if not readers[pad.input[0]]:  # a skip connection may read the map, too
            graph.node.remove(before)
        pad.input[0] = before.input[0]
        pad.output[0] = after[0].output[0]
        graph.node.remove(after[0])
    # The known types were found when they were float.
    del graph.value_info[:]


def _repeats_the_edge(node: onnx.NodeProto) -> bool:
    modes = [each.s for each in node.attribute if each.name == "mode"]
    return node.op_type == "Pad" and modes == [b"edge"]


def _is_pair(before: onnx.NodeProto, after: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    if (before.op_type, after.op_type) != ("DequantizeLinear", "QuantizeLinear"):
        return False
    values = {it.name: onnx.numpy_helper.to_array(it) for it in graph.initializer}
    pairs = zip(before.input[1:], after.input[1:], strict=True)
    return all((values[one] == values[other]).all() for one, other in pairs)
