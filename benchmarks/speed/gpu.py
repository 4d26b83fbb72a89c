"""Speed on a GPU: networks unmodified, unfused, fused with both borders, and at half resolution.

    python -m benchmarks.speed.gpu --markdown runs/gpu.md
    python -m benchmarks.speed.gpu --measure compiled max-autotune --markdown runs/compiled.md

Written for CUDA and tried with `--device cpu`. Candidates are fused on the device, so that choices
are made there, and measured interleaved, channels last: latency, a training step (forward and
backward, in autocast where it says bfloat16), energy. The mode `cudagraph` captures eager kernels
in a CUDA graph, and `max-autotune` compiled ones. No measurement begins after `--budget-s`
seconds, and names the rest. The paper has 2.1x for VGG-16, 1.53x for ResNet-50 and 1.77x
for All-CNN-C on a Titan X, with fewer sites pooled than here.
"""

import argparse
import functools
import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn

from benchmarks.common.arguments import parser
from benchmarks.common.candidates import NAMES, candidates, with_padded_borders
from benchmarks.common.comparison import UNMODIFIED
from benchmarks.common.networks import images, network, usual_side
from benchmarks.common.setting import setting
from benchmarks.common.tables import show, table
from benchmarks.common.times import median, three_digits
from benchmarks.speed.precisions import NETWORKS, PRECISIONS, compared
from benchmarks.speed.step import step_of
from virtualpool.errors import VirtualPoolError
from virtualpool.measure import energy, latency, meter
from virtualpool.measure.latency import Mode
from virtualpool.measure.setting import device_name
from virtualpool.measure.timing import interleaved

COLUMNS = [*NAMES[1:-1], "padded", NAMES[-1]]
TRAINING, ENERGY = "training", "energy"
_ENERGY_REPEATS = 2
_STEPS = 15


class Case(NamedTuple):
    """One measurement: a mode of latency, a training step or energy."""

    what: str
    network: str
    batch: int
    dtype: str

    @property
    def unit(self) -> str:
        """Of the unmodified network's number."""
        return "mJ an image" if self.what == ENERGY else "ms"

    @property
    def title(self) -> str:
        """Of its table."""
        return f"{self.what}, {self.dtype}"

    @property
    def label(self) -> str:
        """Of its row."""
        side = usual_side(self.network)
        return f"{self.network}, {self.batch} of {side}x{side}"


def main() -> None:
    options = _options()
    end = time.monotonic() + options.budget_s
    found: dict[Case, dict[str, float]] = {}
    missing: list[str] = []
    for case in _cases(options):
        if time.monotonic() > end:
            missing.append(f"{case.title} of {case.label} (no time)")
            continue
        try:
            found[case] = measured(case, options)
        except VirtualPoolError as error:
            missing.append(f"{case.title} of {case.label} ({error})")
            continue
        print(case.title, *row(case, found[case]), sep=", ", flush=True)
    show(report(found, missing, options.device), options.markdown)


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    """Cases by their measure, the slow ones last, and by their dtype."""
    for what in options.measure:
        # A step and joules are asked for at the batches that a GPU is used with.
        batches = options.batch if what not in (TRAINING, ENERGY) else [max(options.batch)]
        for dtype, name, batch in itertools.product(options.dtype, options.network, batches):
            yield Case(what, name, batch, dtype)


def measured(case: Case, options: argparse.Namespace) -> dict[str, float]:
    """The number of each candidate: milliseconds, or millijoules an image; medians."""
    if case.what == TRAINING:
        return _steps(case, options)
    models, given = _models(case.network, case.batch, case.dtype, options.device)
    if case.what == ENERGY:
        read_by = options.energy_from and meter(options.energy_from, interval=0.01)
        joules = energy(
            models,
            given,
            device=options.device,
            meter=read_by,
            repeats=_ENERGY_REPEATS,
            duration_s=options.energy_duration_s,
        )
        return {name: 1e3 * each.median_j for name, each in joules.items()}
    mode: Mode = case.what  # pyright: ignore[reportAssignmentType]
    timed = latency(models, given, mode=mode, device=options.device, duration_s=options.duration_s)
    return {name: each.median_ms for name, each in timed.items()}


@functools.cache
@torch.no_grad()
def _models(
    name: str, batch: int, dtype: str, device: str
) -> tuple[dict[str, tuple[nn.Module, Tensor]], Tensor]:
    models = compared(name, batch, dtype, device)
    return models, models[UNMODIFIED][1]


def _steps(case: Case, options: argparse.Namespace) -> dict[str, float]:
    device, side = torch.device(options.device), usual_side(case.network)
    given = images(case.batch, side).to(device)
    model = network(case.network, side).to(device)
    found = candidates(model, given, training=True)
    found["padded"] = with_padded_borders(model, given, training=True)
    autocast = case.dtype != "float32"
    steps = [step_of(each, device, autocast=autocast) for each in found.values()]
    samples = interleaved(steps, device, _STEPS, options.duration_s)
    return dict(zip(found, map(median, samples), strict=True))


def row(case: Case, found: dict[str, float]) -> list[str]:
    """The unmodified network's number, and how many times less each candidate takes."""
    unmodified = found[UNMODIFIED]
    times_less = (f"{unmodified / found[each]:.2f}" for each in COLUMNS)
    return [case.label, three_digits(unmodified), *times_less]


def report(found: dict[Case, dict[str, float]], missing: list[str], device: str) -> str:
    """A table for each measure and dtype, and the missing cells."""
    tables = []
    for title, those in itertools.groupby(found, lambda case: case.title):
        cases = list(those)
        head = ["network, images", f"unmodified, {cases[0].unit}", *COLUMNS]
        tables += [f"{title}:", "", table(head, [row(case, found[case]) for case in cases])]
    notes = [f"Not measured: {'; '.join(missing)}.\n"] if missing else []
    made_with = setting(torch.get_num_threads(), ["torch"])
    return "\n".join([*tables, *notes, f"{device_name(torch.device(device))}; {made_with}"])


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    options.add_argument("--batch", nargs="+", type=int, default=[1, 32, 128])
    options.add_argument("--dtype", nargs="+", choices=PRECISIONS, default=["float32", "bfloat16"])
    options.add_argument(
        "--measure",
        nargs="+",
        choices=[*get_args(Mode), TRAINING, ENERGY],
        default=["eager", "cudagraph", TRAINING, ENERGY, "compiled"],
    )
    options.add_argument("--device", default="cuda")
    options.add_argument("--energy-from", help="a meter, in place of the device's own sensor")
    options.add_argument("--duration-s", type=float, default=0.4, help="of timing, per candidate")
    options.add_argument("--energy-duration-s", type=float, default=2, help="of a block of energy")
    options.add_argument("--budget-s", type=float, default=400, help="after which nothing begins")
    return options.parse_args()


if __name__ == "__main__":
    main()
