"""Peak memory of activations: of a network unmodified, unfused, fused and at half resolution.

    python -m benchmarks.speed.memory --json runs/memory.json --markdown runs/memory.md

Measured are a forward pass, eager and compiled with frozen weights, and a training step: a forward
and a backward pass, eager. Eager is measured twice: the results of operations, and the
memory of PyTorch's allocator, with scratch inside operations. Compiled code shows only the latter;
there, frozen weights need no scratch. Weights, their gradients and the images are there before and
do not count.
"""

import argparse
import gc
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common.arguments import add_networks, parser
from benchmarks.common.candidates import NAMES, Candidate, candidates
from benchmarks.common.comparison import UNMODIFIED
from benchmarks.common.networks import images, network
from benchmarks.common.peaks import allocated_bytes, tensor_bytes
from benchmarks.common.setting import setting
from benchmarks.common.tables import grid, section, show
from benchmarks.speed.step import step
from virtualpool.files import write_json
from virtualpool.graph.inputs import call
from virtualpool.measure.bench import Bench
from virtualpool.measure.compiling import compiled
from virtualpool.words import count

SIDE = 224


@dataclass(frozen=True)
class Mode:
    """A way to run a network and to measure its memory.

    Attributes:
        title: its name in tables.
        training: whether a training step is run, or a forward pass.
        peak: the peak of a model on images, in bytes.
    """

    title: str
    training: bool
    peak: Callable[[nn.Module, Tensor], int]


def _of_tensors(run: Callable[[nn.Module, Tensor], Any], model: nn.Module, images: Tensor) -> int:
    run(model, images)  # makes the gradients
    weights = [*model.parameters(), *model.buffers()]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    return tensor_bytes(partial(run, model, images), [images, *weights, *gradients])


def _allocated(run: Callable[[nn.Module, Tensor], Any], model: nn.Module, images: Tensor) -> int:
    run(model, images)
    return allocated_bytes(partial(run, model, images))


@torch.no_grad()
def _forward(model: nn.Module, images: Tensor) -> Any:
    return call(model, images)


@torch.no_grad()
def _compiled(model: nn.Module, images: Tensor) -> int:
    return allocated_bytes(compiled(model, images, "the model"))


MODES = {
    "eager": Mode("eager", False, partial(_of_tensors, _forward)),
    "eager-scratch": Mode("eager, with scratch", False, partial(_allocated, _forward)),
    "compiled": Mode("compiled, frozen", False, _compiled),
    "training": Mode("training step", True, partial(_of_tensors, step)),
    "training-scratch": Mode("training step, with scratch", True, partial(_allocated, step)),
}


@dataclass(frozen=True)
class Peaks:
    """Peaks of one network and batch in one mode.

    Attributes:
        network: its name.
        batch: images per call.
        mode: one of `MODES`.
        peak_bytes: of each candidate, by name.
    """

    network: str
    batch: int
    mode: str
    peak_bytes: dict[str, int]

    def mebibytes(self) -> str:
        """The unmodified network's peak in MiB."""
        return f"{self.peak_bytes[UNMODIFIED] / 2**20:.3g}"

    def share(self, name: str) -> str:
        """A candidate's peak as a part of the unmodified network's."""
        return f"{self.peak_bytes[name] / self.peak_bytes[UNMODIFIED]:.2f}"


def main() -> None:
    options = _options()
    found = [
        _measured(name, batch, mode)
        for name in options.network
        for mode in options.mode
        for batch in options.batch
    ]
    made_with = setting(torch.get_num_threads(), ["torch", "torchvision"])
    if options.json:
        write_json(options.json, [asdict(each) for each in found])
    show(f"{report(found)}\n{made_with}", options.markdown)


def _measured(name: str, batch: int, mode: str) -> Peaks:
    compared = candidates(network(name, SIDE), images(batch, SIDE), training=MODES[mode].training)
    peaks = {}
    for each, candidate in compared.items():
        peaks[each] = _peak(candidate, MODES[mode])
        gc.collect()  # the next candidate may need the memory of this one
    found = Peaks(name, batch, mode, peaks)
    print(found, flush=True)
    return found


def _peak(candidate: Candidate, mode: Mode) -> int:
    bench = Bench.of("cpu", None, channels_last=True)
    return mode.peak(bench.copy_of(candidate.model), bench.inputs(candidate.images, None))


def report(found: Iterable[Peaks]) -> str:
    """A table for each network and number of images: a column a mode."""
    rows = {f"{UNMODIFIED}, MiB": Peaks.mebibytes} | {
        name: partial(Peaks.share, name=name) for name in NAMES[1:]
    }
    cases: dict[tuple[str, int], dict[str, Peaks]] = {}
    for each in found:
        cases.setdefault((each.network, each.batch), {})[MODES[each.mode].title] = each
    return section(
        "Peak of activations, as a part of the unmodified network's",
        {
            f"{name}, {count(batch, 'image')}:": grid("", columns, rows)
            for (name, batch), columns in cases.items()
        },
    )


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    add_networks(options)
    options.add_argument("--mode", nargs="+", choices=MODES, default=list(MODES))
    options.add_argument("--json", help="a file for the peaks")
    return options.parse_args()


if __name__ == "__main__":
    main()
