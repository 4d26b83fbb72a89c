"""Time of a training step: of a network unmodified, unfused, fused and at half resolution.

    python -m benchmarks.speed.training --batch 8 --markdown runs/training.md
    python -m benchmarks.speed.training --network vgg16 resnet50 --batch 50 --device cuda

A step is a forward and a backward pass, eager, channels last, in float32 and in bfloat16 autocast;
images a second do not count how they are loaded, nor the optimiser. The candidates are timed
interleaved. All-CNN-C takes images of 32 x 32, the others of 224 x 224 unless `--side` says
otherwise.
"""

import argparse
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.common.arguments import add_networks, add_timing, parser
from benchmarks.common.candidates import NAMES, candidates
from benchmarks.common.networks import ALL_CNN_C, images, network, usual_side
from benchmarks.common.setting import setting
from benchmarks.common.tables import by_column, grid, section, show
from benchmarks.common.times import median, milliseconds_per, spread, timed_interleaved
from benchmarks.speed.step import step_of
from virtualpool.measure.setting import device_name
from virtualpool.measure.timing import threads as torch_threads

DTYPES = {"float32": torch.float32, "bfloat16 autocast": torch.bfloat16}


@dataclass(frozen=True)
class Steps:
    """Steps of one network and batch in one precision.

    Attributes:
        network: its name.
        batch: images per step.
        precision: one of `DTYPES`.
        samples_ms: of each candidate, by name.
    """

    network: str
    batch: int
    precision: str
    samples_ms: dict[str, tuple[float, ...]]

    def share(self, name: str) -> str:
        """A candidate's time as a part of the unmodified network's."""
        return f"{median(self.samples_ms[name]) / median(self.samples_ms['unmodified']):.2f}"

    def throughput(self, name: str) -> str:
        """Images a second of a candidate, by its median."""
        return f"{1e3 * self.batch / median(self.samples_ms[name]):.3g}"

    def milliseconds(self, name: str) -> str:
        """The median and the spread of a candidate."""
        return spread(self.samples_ms[name])


def main() -> None:
    options = _options()
    sections = [steps(name, options) for name in options.network]
    made_with = setting(options.threads, ["torch", "torchvision"])
    if options.device != "cpu":
        made_with = f"{device_name(torch.device(options.device))}; {made_with}"
    show("\n".join([*sections, made_with]), options.markdown)


def steps(name: str, options: argparse.Namespace) -> str:
    """The steps of one network: a column a precision, in each cell the batches."""
    found = [
        _measured(name, batch, precision, options)
        for precision in DTYPES
        for batch in options.batch
    ]
    corner, titled = by_column(name, _side(name, options), found, lambda each: each.precision)
    shares = {each: partial(Steps.share, name=each) for each in NAMES[1:]}
    throughputs = {each: partial(Steps.throughput, name=each) for each in NAMES}
    times = {each: partial(Steps.milliseconds, name=each) for each in NAMES}
    return section(
        name,
        {
            "As a part of unmodified, medians:": grid(corner, titled, shares),
            "Images a second, by medians:": grid(corner, titled, throughputs),
            milliseconds_per("step"): grid(corner, titled, times),
        },
    )


def _measured(name: str, batch: int, precision: str, options: argparse.Namespace) -> Steps:
    side, device = _side(name, options), torch.device(options.device)
    compared = candidates(
        network(name, side).to(device), images(batch, side).to(device), training=True
    )
    autocast = DTYPES[precision] is torch.bfloat16
    runs = {each: step_of(it, device, autocast=autocast) for each, it in compared.items()}
    with torch_threads(options.threads):
        steps = Steps(name, batch, precision, timed_interleaved(runs, options.duration_s, device))
    print(name, batch, precision, {each: steps.share(each) for each in NAMES}, flush=True)
    return steps


def _side(name: str, options: argparse.Namespace) -> int:
    return options.side or usual_side(name)


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
