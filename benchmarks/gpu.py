"""Speed on a GPU: networks unmodified, unfused, fused and at half resolution.

    python benchmarks/gpu.py --markdown runs/gpu.md

Written for CUDA and tried with `--device cpu`. Candidates are fused on the device, so that what is
to be chosen is chosen there, and timed interleaved, channels last. The mode `max-autotune` runs
CUDA graphs. The paper has 2.1x for VGG-16, 1.53x for ResNet-50 and 1.77x for All-CNN-C on a Titan
X, with fewer sites pooled than here.
"""

import argparse
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import torch
from arguments import parser
from candidates import NAMES, candidates
from comparison import UNMODIFIED
from differences import difference
from networks import ALL_CNN_C, images, network, usual_side
from setting import setting
from tables import show, table
from torch import Tensor, nn

from virtualpool.graph.parts import evaluating
from virtualpool.measure import latency
from virtualpool.measure.latency import Mode
from virtualpool.measure.setting import device_name

NETWORKS = ["vgg16", "resnet50", ALL_CNN_C]


@dataclass(frozen=True)
class Precision:
    """What a network computes in.

    Attributes:
        dtype: of weights and images.
        tolerance: how far a fused network's outputs may be from the pooled one's, without TF32.
        autocast: what operations are cast to, if they are.
    """

    dtype: torch.dtype
    tolerance: float
    autocast: torch.dtype | None = None


PRECISIONS = {
    "float32": Precision(torch.float32, 1e-3),
    "bfloat16": Precision(torch.bfloat16, 1e-1),
    "float16": Precision(torch.float16, 1e-1),
    "bfloat16-autocast": Precision(torch.float32, 1e-1, torch.bfloat16),
    "float16-autocast": Precision(torch.float32, 1e-1, torch.float16),
}


class Autocast(nn.Module):
    """A model that runs in autocast."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, images: Tensor) -> Any:
        """Gives what the model gives."""
        with torch.autocast(images.device.type, self.dtype):
            return self.model(images)


@torch.no_grad()
def main() -> None:
    options = _options()
    cases = itertools.product(options.network, options.batch, options.dtype, options.mode)
    rows = [row(*case, options) for case in cases]
    head = ["network", "batch", "dtype", "mode", "unmodified, ms", *NAMES[1:], "fused / half"]
    made_with = setting(torch.get_num_threads(), ["torch"])
    name = device_name(torch.device(options.device))
    show(f"{table(head, rows)}\n{name}; {made_with}", options.markdown)


def row(name: str, batch: int, dtype: str, mode: Mode, options: argparse.Namespace) -> list[str]:
    """How many times faster than unmodified each candidate of one network is, by medians."""
    models = compared(name, batch, dtype, options.device)
    given = models[UNMODIFIED][1]
    timed = latency(models, given, mode=mode, device=options.device, seconds=options.seconds)
    milliseconds = {each: found.median_ms for each, found in timed.items()}
    ratios = [milliseconds[UNMODIFIED] / milliseconds[each] for each in NAMES[1:]]
    cells = [name, str(batch), dtype, mode, f"{milliseconds[UNMODIFIED]:.3g}"]
    cells += [f"{ratio:.2f}" for ratio in ratios]
    cells += [f"{milliseconds['half'] / milliseconds['fused']:.2f}"]
    print(cells, flush=True)
    return cells


def compared(name: str, batch: int, dtype: str, device: str) -> dict[str, tuple[nn.Module, Tensor]]:
    """The candidates of one network by name, each with its images; outputs are compared before."""
    precision = PRECISIONS[dtype]
    side = usual_side(name)
    given = images(batch, side).to(device, precision.dtype)
    found = candidates(network(name, side).to(given), given)
    models = {each: (_cast(it.model, precision), it.images) for each, it in found.items()}
    checked(models["fused"][0], models["unfused"][0], given, precision.tolerance)
    return models


def checked(fused: nn.Module, pooled: nn.Module, given: Tensor, tolerance: float) -> None:
    """Refuses to time what computes something else."""
    with evaluating(fused), evaluating(pooled), _without_tf32():
        found = difference(fused(given), pooled(given))
    if found > tolerance:
        raise SystemExit(f"the fused network's outputs differ from the pooled one's by {found:.1e}")


@contextmanager
def _without_tf32() -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    convolutions = cudnn.conv
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


def _cast(model: nn.Module, precision: Precision) -> nn.Module:
    return Autocast(model, precision.autocast) if precision.autocast else model


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    options.add_argument("--batch", nargs="+", type=int, default=[1, 32, 128])
    options.add_argument("--dtype", nargs="+", choices=PRECISIONS, default=["float32", "bfloat16"])
    modes = get_args(Mode)
    options.add_argument("--mode", nargs="+", choices=modes, default=["eager", "compiled"])
    options.add_argument("--device", default="cuda")
    options.add_argument("--seconds", type=float, default=5, help="of timing, per candidate")
    return options.parse_args()


if __name__ == "__main__":
    main()
