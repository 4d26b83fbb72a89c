"""Where the time of ONNX Runtime and OpenVINO goes: to which kinds of operators, by their profiles.

    python -m benchmarks.speed.operators --markdown runs/operators.md

Unfused, `Upsample` or `Interpolate` is the interpolation. Fused, `AveragePool` makes the odd
positions that ONNX Runtime's convolutions read, and `Pad` the borders of reduced maps for OpenVINO.
ONNX Runtime's `ReorderInput` and `ReorderOutput` take maps into the layout of its convolutions and
out of it.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.common.arguments import add_networks, parser
from benchmarks.common.candidates import candidates
from benchmarks.common.networks import ALL_CNN_C, images, network, usual_side
from benchmarks.common.setting import setting
from benchmarks.common.tables import section, show
from benchmarks.speed.profiles import PROFILES, by_kind, kinds


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
            tables |= {f"{runtime}, {unit}:": table for unit, table in kinds(spent).items()}
    return section(f"{name}, {side}x{side}, batch {batch}", tables)


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
