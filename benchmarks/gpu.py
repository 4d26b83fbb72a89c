"""Speed on a GPU: networks unmodified, as written, fused and on half the image.

    python benchmarks/gpu.py --markdown runs/gpu.md

Written for CUDA and tried with `--device cpu`. Candidates are fused on the device, so that what is
to be chosen is chosen there, and timed by turns. The paper has 2.1x for VGG-16, 1.53x for ResNet-50
and 1.77x for All-CNN-C on a Titan X, with fewer sites pooled than here.
"""

import argparse
import itertools

import torch
from candidates import NAMES, candidates
from comparison import UNMODIFIED
from differences import difference
from networks import images, network
from setting import setting
from tables import table
from torch import Tensor, nn

from virtualpool.files import write_text
from virtualpool.measure import latency
from virtualpool.measure.latency import Mode
from virtualpool.models import all_cnn_c
from virtualpool.trace import evaluating

SIDES = {"vgg16": 224, "resnet50": 224, "all_cnn_c": 32}
TOLERANCES = {"float32": 1e-3, "bfloat16": 1e-1, "float16": 1e-1}
"""Of a fused network's outputs; convolutions on a GPU may multiply in TF32."""


def main() -> None:
    options = _options()
    cases = itertools.product(options.network, options.batch, options.dtype, options.mode)
    rows = [row(*case, options) for case in cases]
    head = ["network", "batch", "dtype", "mode", "unmodified, ms", *NAMES[1:], "fused / half"]
    name = torch.cuda.get_device_name() if options.device == "cuda" else options.device
    text = f"{table(head, rows)}\n{name}; {setting(torch.get_num_threads(), ['torch'])}\n"
    print(text)
    if options.markdown:
        write_text(options.markdown, text)


def row(name: str, batch: int, dtype: str, mode: Mode, options: argparse.Namespace) -> list[str]:
    """How many times faster than unmodified each candidate of one network is, by medians."""
    given = images(batch, SIDES[name]).to(options.device, getattr(torch, dtype))
    model = all_cnn_c() if name == "all_cnn_c" else network(name, SIDES[name])
    compared = candidates(model.to(given), given)
    checked(compared["fused"].model, compared["fused"].reference, given, dtype)
    timed = latency(
        {each: (candidate.model, candidate.images) for each, candidate in compared.items()},
        given,
        mode=mode,
        device=options.device,
        seconds=options.seconds,
    )
    milliseconds = {each: found.median_ms for each, found in timed.items()}
    ratios = [milliseconds[UNMODIFIED] / milliseconds[each] for each in NAMES[1:]]
    cells = [name, str(batch), dtype, mode, f"{milliseconds[UNMODIFIED]:.3g}"]
    cells += [f"{ratio:.2f}" for ratio in ratios]
    print(cells, flush=True)
    return [*cells, f"{milliseconds['half'] / milliseconds['fused']:.2f}"]


def checked(fused: nn.Module, pooled: nn.Module, given: Tensor, dtype: str) -> None:
    """Refuses to time what computes something else."""
    with torch.no_grad(), evaluating(fused), evaluating(pooled):
        found = difference(fused(given), pooled(given))
    if found > TOLERANCES[dtype]:
        raise SystemExit(f"the fused network's outputs differ from the pooled one's by {found:.1e}")


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--network", nargs="+", choices=SIDES, default=list(SIDES))
    options.add_argument("--batch", nargs="+", type=int, default=[1, 32, 128])
    options.add_argument("--dtype", nargs="+", choices=TOLERANCES, default=["float32", "bfloat16"])
    options.add_argument("--mode", nargs="+", default=["eager", "compiled"])
    options.add_argument("--device", default="cuda")
    options.add_argument("--seconds", type=float, default=5, help="of timing, per candidate")
    options.add_argument("--markdown", help="a file for the table, which is printed anyway")
    return options.parse_args()


if __name__ == "__main__":
    main()
