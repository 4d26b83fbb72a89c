"""The operators that ONNX Runtime and OpenVINO report, by kind."""

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy
from torch import Tensor, nn

from benchmarks.common.engines import exported, exported_for_onnx_runtime
from benchmarks.common.tables import table
from virtualpool.export.onnx import onnx_runtime_session
from virtualpool.export.openvino import openvino_request

SMALLEST_SHARE = 0.01

Samples = Mapping[tuple[str, str], list[float]]
"""Milliseconds in each call, by the kind and the name of an operator."""


def in_onnx_runtime(
    model: nn.Module, images: Tensor, file: Path, threads: int, calls: int
) -> Samples:
    """Profiles so many calls of a model in ONNX Runtime, by a file that is written if need be."""
    file = exported_for_onnx_runtime(model, images, file)
    session = onnx_runtime_session(file, threads, profile=file.with_suffix(""))
    name = session.get_inputs()[0].name
    for _ in range(calls):
        session.run(None, {name: images.numpy()})
    samples = defaultdict(list)
    for event in json.loads(Path(session.end_profiling()).read_text()):
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            samples[event["args"]["op_name"], event["name"]].append(event["dur"] / 1e3)
    return samples


def in_openvino(model: nn.Module, images: Tensor, file: Path, threads: int, calls: int) -> Samples:
    """Profiles so many calls of a model in OpenVINO, in float32, by a file likewise."""
    import openvino

    network = openvino.convert_model(exported(model, images, file))
    request = openvino_request(network, threads, "f32", has_profile=True)
    inputs = [numpy.ascontiguousarray(images.numpy())]
    samples = defaultdict(list)
    for _ in range(calls):
        request.infer(inputs)
        for each in request.profiling_info:
            milliseconds = each.real_time.total_seconds() * 1e3
            samples[each.node_type, each.node_name].append(milliseconds)
    return samples


def by_kind(samples: Samples) -> dict[str, float]:
    """Milliseconds of each kind of operator: the sum of its operators' medians.

    >>> by_kind({("Conv", "a"): [1.0, 9.0, 2.0], ("Conv", "b"): [3.0], ("Pad", "c"): [0.5]})
    {'Conv': 5.0, 'Pad': 0.5}
    """
    spent: dict[str, float] = defaultdict(float)
    for (kind, _), milliseconds in samples.items():
        spent[kind] += statistics.median(milliseconds)
    return dict(spent)


def kinds(spent: Mapping[str, Mapping[str, float]]) -> str:
    """A table of milliseconds by form and kind of operator, the kinds that take most first."""
    whole = {form: sum(times.values()) for form, times in spent.items()}
    shares = {
        kind: max(times.get(kind, 0) / whole[form] for form, times in spent.items())
        for kind in {kind for times in spent.values() for kind in times}
    }
    named = sorted(
        (kind for kind in shares if shares[kind] >= SMALLEST_SHARE), key=shares.__getitem__
    )
    rows = [
        [kind, *(_cell(times.get(kind, 0), whole[form]) for form, times in spent.items())]
        for kind in reversed(named)
    ]
    rows.append(["all", *(f"{milliseconds:.3g}" for milliseconds in whole.values())])
    return table(["", *spent], rows)


def _cell(milliseconds: float, whole: float) -> str:
    return f"{milliseconds:.3g} ({milliseconds / whole:.0%})" if milliseconds else "–"


Profile = Callable[[nn.Module, Tensor, Path, int, int], Samples]
PROFILES: dict[str, Profile] = {"ONNX Runtime": in_onnx_runtime, "OpenVINO": in_openvino}
