"""ONNX for TensorRT, which builds its engine on the machine with the GPU: without `Pad` or `Slice`.

The file is checked in ONNX Runtime here; the engine is not, and the report says how to build it.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from virtualpool.export.format import Format, Request
from virtualpool.export.onnx import in_onnx_runtime, operators_in, write_onnx
from virtualpool.graph.inputs import tensors

_LARGEST_BATCH = 32
_SLOW = ("Pad", "Slice")


def _write(request: Request, path: Path) -> Counter[str]:
    # This form has convolutions and poolings with a padding of their own in place of `Pad`.
    write_onnx(request.model, request.inputs, path, "onnxruntime-cpu", request.open_axes)
    return operators_in(path)


def trtexec(request: Request, path: Path) -> str:
    """The command that builds an engine of a file, and what of it TensorRT does slowly."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    command = ["trtexec", f"--onnx={path.name}", f"--saveEngine={path.stem}.engine"]
    if request.precision == "float16":
        command.append("--fp16")
    if request.open_axes != "none":
        names = [each.name for each in graph.input]
        shapes = [[*each.shape] for each in tensors(request.inputs)]
        for option, batch in (("min", 1), ("opt", None), ("max", _LARGEST_BATCH)):
            each = [_shape(name, shape, batch) for name, shape in zip(names, shapes, strict=True)]
            command.append(f"--{option}Shapes={','.join(each)}")
    found = Counter(node.op_type for node in graph.node)
    slow = [f"{found[name]} {name}" for name in _SLOW if found[name]]
    odd = sum(node.op_type == "Resize" and _is_odd(node) for node in graph.node)
    slow += [f"{odd} Resize with a mode that TensorRT lacks"] * bool(odd)
    also = f" The network has {', '.join(slow)}." if slow else ""
    return f"Build the engine where the GPU is: {' '.join(command)}{also}"


def _shape(name: str, shape: list[int], batch: int | None) -> str:
    return f"{name}:{'x'.join(map(str, [shape[0] if batch is None else batch, *shape[1:]]))}"


def _is_odd(resize: Any) -> bool:
    texts = {each.name: each.s.decode() for each in resize.attribute if each.s}
    place = texts.get("coordinate_transformation_mode", "half_pixel")
    is_known = place in ("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel")
    return not is_known or texts.get("mode", "nearest") not in ("nearest", "linear")


TENSORRT = Format(
    name="tensorrt",
    suffix=".onnx",
    title="ONNX for TensorRT",
    runtime="ONNX Runtime",
    write=_write,
    ready=in_onnx_runtime,
    packages=("onnxruntime", "onnx", "onnxscript"),
    extra="onnx",
    precisions=("float32", "float16"),
    open_axes=("none", "batch", "all"),
    hint=trtexec,
)
