"""Where the time of ONNX Runtime and OpenVINO goes: to which kinds of operators, by their profiles.

    python benchmarks/operators.py --markdown runs/operators.md

Unfused, `Upsample` or `Interpolate` is the interpolation. Fused, `AveragePool` makes the odd
positions that ONNX Runtime's convolutions read, and `Pad` the borders of reduced maps for OpenVINO.
ONNX Runtime's `ReorderInput` and `ReorderOutput` take maps into the layout of its convolutions and
out of it.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy
import torch
from arguments import add_networks, parser
from candidates import candidates
from engines import (
    exported,
    exported_for_onnx_runtime,
    onnx_runtime_session,
    openvino_request,
)
from networks import ALL_CNN_C, images, network, usual_side
from setting import setting
from tables import section, show, table
from torch import Tensor, nn

SMALLEST_SHARE = 0.01

Samples = Mapping[tuple[str, str], list[float]]
"""Milliseconds in each call, by the kind and the name of an operator."""


@torch.no_grad()
def main() -> None:
    options = _options()
    sections = [
        _of_network(name, batch, options) for name in options.network for batch in options.batch
    ]
    made_with = setting(options.threads, ["torch", "onnxruntime", "openvino"])
    show("\n".join([*sections, made_with]), options.markdown)


def _of_network(name: str, batch: int, options: argparse.Namespace) -> str:
    side = usual_side(name)
    found = candidates(network(name, side), images(batch, side))
    tables = {}
    with TemporaryDirectory() as folder:
        for runtime in options.runtime:
            spent = {
                form: by_kind(
                    PROFILES[runtime](
                        it.model,
                        it.images,
                        Path(folder, f"{form}.onnx"),
                        options.threads,
                        options.calls,
                    )
                )
                for form, it in found.items()
            }
            tables[f"{runtime}, milliseconds (share of all):"] = kinds(spent)
    return section(f"{name}, {side}x{side}, batch {batch}", tables)


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


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    add_networks(options)
    options.set_defaults(network=["vgg16.features", "resnet50", ALL_CNN_C])
    options.add_argument("--runtime", nargs="+", choices=PROFILES, default=list(PROFILES))
    options.add_argument("--calls", type=int, default=15, help="that are profiled")
    options.add_argument("--threads", type=int, default=2, help="of each runtime")
    return options.parse_args()


if __name__ == "__main__":
    main()
