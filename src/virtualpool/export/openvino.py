"""OpenVINO's representation: an `.xml` file with its weights in a `.bin` beside it."""

from collections import Counter
from pathlib import Path
from typing import Any

from virtualpool.export.arrays import arrays_of
from virtualpool.export.format import Format, Ready, Request, Run
from virtualpool.export.onnx import write_onnx

_NO_WORK = ("Constant", "Parameter", "Result")


def _write(request: Request, path: Path) -> Counter[str]:
    import openvino

    # OpenVINO could take the model from torch itself, but then keeps the arithmetic on shapes in it
    # and makes a scattered update of every write in place.
    source = path.with_suffix(".onnx")
    write_onnx(request.model, request.inputs, source, "any", request.open_axes)
    network = openvino.convert_model(source)
    if request.precision == "int8":
        network = _quantised(network, request)
    openvino.save_model(network, path, compress_to_fp16=request.precision == "float16")
    names = Counter(each.get_type_name() for each in network.get_ops())
    return Counter({name: names[name] for name in names if name not in _NO_WORK})


def _quantised(network: Any, request: Request) -> Any:
    import nncf  # pyright: ignore[reportMissingImports]

    batches = [arrays_of(inputs) for inputs in request.calibration]
    return nncf.quantize(network, nncf.Dataset(batches), subset_size=len(batches))


def openvino_request(
    network: Any, threads: int, precision: str, *, has_profile: bool = False
) -> Any:
    """A request to a network that OpenVINO compiles, with a profile of each call if it is asked.

    Args:
        network: of OpenVINO, or the path of one.
        threads: of the request.
        precision: of its float operations, `f32` or `bf16`.
        has_profile: whether it counts the time of each operation.
    """
    import openvino

    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # as the others, which leave it to the system
        "PERF_COUNT": has_profile,
    }
    return openvino.Core().compile_model(network, "CPU", config).create_infer_request()


def in_openvino(network: Any, threads: int, precision: str = "f32") -> Ready:
    """A network of OpenVINO, or the path of one, compiled; see `openvino_request`."""
    request = openvino_request(network, threads, precision)

    def bound(inputs: Any) -> Run:
        arrays = arrays_of(inputs)
        return lambda: list(request.infer(arrays).values())

    return bound


OPENVINO = Format(
    name="openvino",
    suffix=".xml",
    title="OpenVINO",
    runtime="OpenVINO",
    write=_write,
    ready=in_openvino,
    packages=("openvino", "onnx", "onnxscript"),
    quantising=("nncf",),
    extra="openvino",
    precisions=("float32", "float16", "int8"),
    open_axes=("none", "batch", "all"),
    beside=(".bin",),
)
