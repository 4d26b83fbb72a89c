"""Time of a training step: of a network unmodified, unfused, fused and at half resolution.

    python -m benchmarks.speed.training --batch 8 --markdown runs/training.md
    python -m benchmarks.speed.training --network vgg16 resnet50 --batch 50 --device cuda

A step is a forward and a backward pass, eager, channels last, in float32 and in bfloat16 autocast;
images a second do not count how they are loaded, nor the optimiser. The candidates are timed
interleaved. All-CNN-C takes images of 32 x 32, the others of 224 x 224 unless `--side` says
otherwise.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from benchmarks.common.arguments import add_networks, add_timing, parser
from benchmarks.common.candidates import NAMES, candidates
from benchmarks.common.networks import ALL_CNN_C, images, network, usual_side
from benchmarks.common.setting import setting
from benchmarks.common.tables import show, table
from benchmarks.common.times import median, timed_interleaved
from benchmarks.speed.step import step_of
from virtualpool.measure.setting import device_name
from virtualpool.measure.timing import threads as torch_threads

DTYPES = {"float32": torch.float32, "bfloat16 autocast": torch.bfloat16}


@dataclass(frozen=True)
class Steps:
    """Steps of one network and batch in one precision.

    Attributes:
        network: its name.
        side: of the images, in pixels.
        batch: images per step.
        precision: one of `DTYPES`.
        samples_ms: of each candidate, by name.
    """

    network: str
    side: int
    batch: int
    precision: str
    samples_ms: dict[str, tuple[float, ...]]

    def share(self, name: str) -> str:
        """A candidate's time as a part of the unmodified network's."""
        return f"{median(self.samples_ms[name]) / median(self.samples_ms['unmodified']):.2f}"

    def throughput(self, name: str) -> str:
        """Images a second of a candidate, by its median."""
        images_a_second = 1e3 * self.batch / median(self.samples_ms[name])
        return f"{float(f'{images_a_second:.3g}'):g}"  # three digits, without an exponent


def main() -> None:
    options = _options()
    found = [
        _measured(name, batch, precision, options)
        for precision in DTYPES
        for name in options.network
        for batch in options.batch
    ]
    made_with = setting(options.threads, ["torch", "torchvision"])
    if options.device != "cpu":
        made_with = f"{device_name(torch.device(options.device))}; {made_with}"
    show(f"{report(found)}\n{made_with}", options.markdown)


def report(found: list[Steps]) -> str:
    """All steps, a row each: parts of the unmodified network's time, and images a second."""
    shares = [_row(each, each.share, NAMES[1:]) for each in found]
    throughputs = [_row(each, each.throughput, NAMES) for each in found]
    return "\n".join(
        [
            "Time as a part of unmodified, medians:",
            "",
            table(["dtype", "network, images", *NAMES[1:]], shares),
            "Images a second, by medians:",
            "",
            table(["dtype", "network, images", *NAMES], throughputs),
        ]
    )


def _row(steps: Steps, text: Callable[[str], str], names: Iterable[str]) -> list[str]:
    what = f"{steps.network}, {steps.batch} of {steps.side}x{steps.side}"
    return [steps.precision, what, *map(text, names)]


def _measured(name: str, batch: int, precision: str, options: argparse.Namespace) -> Steps:
    side, device = options.side or usual_side(name), torch.device(options.device)
    compared = candidates(
        network(name, side).to(device), images(batch, side).to(device), training=True
    )
    autocast = DTYPES[precision] is torch.bfloat16
    runs = {each: step_of(it, device, autocast=autocast) for each, it in compared.items()}
    with torch_threads(options.threads):
        samples_ms = timed_interleaved(runs, options.duration_s, device)
    steps = Steps(name, side, batch, precision, samples_ms)
    print(name, batch, precision, {each: steps.share(each) for each in NAMES}, flush=True)
    return steps


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    add_networks(options)
    options.set_defaults(network=[ALL_CNN_C, "vgg16.features", "resnet50"])
    add_timing(options)
    options.add_argument("--device", default="cpu")
    options.add_argument("--side", type=int, help="of the images, in pixels")
    return options.parse_args()


if __name__ == "__main__":
    main()
