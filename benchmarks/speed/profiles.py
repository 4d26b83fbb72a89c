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


def kinds(spent: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Tables by form and kind of operator, of milliseconds and of per cent of the form's time.

    The kinds that take most come first; those that take next to nothing are in the sums alone.
    """
    whole = {form: sum(times.values()) for form, times in spent.items()}
    shares = {
        kind: {form: times.get(kind, 0) / whole[form] for form, times in spent.items()}
        for kind in {kind for times in spent.values() for kind in times}
    }
    largest = {kind: max(of.values()) for kind, of in shares.items()}
    named = sorted((it for it in largest if largest[it] >= SMALLEST_SHARE), key=largest.__getitem__)
    milliseconds = [
        [kind, *(f"{times[kind]:.3g}" if kind in times else "–" for times in spent.values())]
        for kind in reversed(named)
    ]
    per_cent = [
        [kind, *(f"{100 * share:.0f}" if share else "–" for share in shares[kind].values())]
        for kind in reversed(named)
    ]
    sums = ["all", *(f"{it:.3g}" for it in whole.values())]
    return {
        "milliseconds": table(["", *spent], [*milliseconds, sums]),
        "per cent of the time": table(["", *spent], per_cent),
    }


Profile = Callable[[nn.Module, Tensor, Path, int, int], Samples]
PROFILES: dict[str, Profile] = {"ONNX Runtime": in_onnx_runtime, "OpenVINO": in_openvino}
