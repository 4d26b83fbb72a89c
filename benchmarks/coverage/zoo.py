"""Virtual pooling on every classification network of torchvision: writes docs/results/zoo.md.

    python -m benchmarks.coverage.zoo

Weights are random: the check is where virtual pooling can go and that the result runs.
"""

import argparse
import datetime
import gc
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import list_models

import virtualpool as vp
from benchmarks.common.networks import build, input_side
from benchmarks.common.setting import command
from benchmarks.common.tables import table
from virtualpool.files import write_text
from virtualpool.graph.inputs import tensors
from virtualpool.words import count

COLUMNS = ("network", "image side", "convolutions", "eligible", "GMACs", "times fewer MACs, pooled")
LITTLE = 3
"""Below so many times fewer multiply-accumulates a family of networks has a row of its own."""


@dataclass(frozen=True)
class Row:
    """The results for one network.

    Attributes:
        network: its name in torchvision.
        side: of the square input, in pixels.
        sites: its convolutions.
        macs: multiply-accumulates per image of the network.
        pooled_macs: the same with all eligible sites pooled.
        evaluates: whether the pooled network runs in eval mode: "yes", or the error.
        trains: the same in training mode.
    """

    network: str
    side: int
    sites: list[vp.Site]
    macs: int
    pooled_macs: int
    evaluates: str
    trains: str

    def cells(self) -> list[str]:
        """The row's texts, one for each of `COLUMNS`."""
        return [
            self.network,
            str(self.side),
            str(len(self.sites)),
            str(sum(site.eligible for site in self.sites)),
            f"{self.macs / 1e9:.3f}",
            f"{self.times_fewer:.2f}",
        ]

    @property
    def times_fewer(self) -> float:
        """How many times fewer multiply-accumulates the pooled network does."""
        return self.macs / self.pooled_macs

    @property
    def family(self) -> str:
        """The letters that the network's name begins with."""
        return "".join(itertools.takewhile(str.isalpha, self.network))

    @property
    def works(self) -> bool:
        """Whether the pooled network runs in both modes."""
        return self.evaluates == self.trains == "yes"


def examine(network: str) -> Row:
    side = input_side(network)
    image = torch.rand(1, 3, side, side)
    model = build(network)
    pooled = vp.apply(model, image, "all")
    return Row(
        network=network,
        side=side,
        sites=vp.sites(model, image),
        macs=vp.measure.macs(model, image),
        pooled_macs=vp.measure.macs(pooled, image),
        evaluates=compare(model.eval(), pooled.eval(), side),
        trains=compare(model.train(), pooled.train(), side),
    )


@torch.no_grad()
def compare(model: nn.Module, pooled: nn.Module, side: int) -> str:
    """Whether the pooled model gives finite outputs of the model's shapes, for two images."""
    images = torch.rand(2, 3, side, side)
    try:
        expected, found = shapes(model(images)), tensors(pooled(images))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if shapes(found) != expected:
        return f"gives {shapes(found)} for {expected}"
    return "yes" if all(output.isfinite().all() for output in found) else "not finite"


def shapes(outputs: Tensor | list[Tensor]) -> list[tuple[int, ...]]:
    return [tuple(output.shape) for output in tensors(outputs)]


def page(rows: list[Row], command: str) -> str:
    """The rows as a page in Markdown."""
    lines = [
        "# Every classification network of torchvision",
        "",
        f"{sum(row.works for row in rows)} of {len(rows)} classification networks of torchvision "
        "run with all eligible sites pooled: outputs are finite and have the network's shapes, in "
        "eval and in training mode. How many times fewer multiply-accumulates (MACs) they then do:",
        "",
        table(["networks", "how many", "times fewer MACs"], gains(rows)),
        "How fast they are is in [Speed](speed.md#classification-networks-of-torchvision).",
        "",
        *failures(rows),
        *reasons(rows),
        "*Image side* is in pixels, *GMACs* are 10^9 MACs for an image. The last column says how "
        "many times fewer they are after `vp.apply(model, image)`. Random weights, torch "
        f"{torch.__version__}, torchvision {torchvision.__version__}, `{command}`, "
        f"{datetime.date.today().isoformat()}.",
        "",
        table(COLUMNS, [row.cells() for row in rows]),
    ]
    return "\n".join(lines)


def gains(rows: list[Row]) -> Iterator[list[str]]:
    """A row a family that gains little, below one for all others."""
    families: dict[str, list[float]] = {}
    for row in rows:
        families.setdefault(row.family, []).append(row.times_fewer)
    little = {name: each for name, each in families.items() if max(each) < LITTLE}
    others = [each for name, those in families.items() if name not in little for each in those]
    kinds = ([("all others", others)] if others else []) + [
        *sorted(little.items(), key=lambda pair: -max(pair[1]))
    ]
    for name, fewer in kinds:
        ends = dict.fromkeys(f"{each:.2f}" for each in (min(fewer), max(fewer)))
        yield [name, str(len(fewer)), " to ".join(ends)]


def failures(rows: list[Row]) -> list[str]:
    """A line for each network that does not run."""
    return [
        f"- {row.network}: {row.evaluates} (eval), {row.trains} (training)\n"
        for row in rows
        if not row.works
    ]


def reasons(rows: list[Row]) -> list[str]:
    """A list of the reasons why convolutions are not eligible, if there are such."""
    families: dict[str, list[str]] = {}
    for row in rows:
        for reason in dict.fromkeys(site.reason for site in row.sites if site.reason):
            families.setdefault(reason, []).append(row.family)
    lines = [
        f"- {reason}: in {count(len(names), 'network')} ({', '.join(dict.fromkeys(names))})."
        for reason, names in families.items()
    ]
    return ["Convolutions that are not eligible:", "", *lines, ""] if lines else []


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--filter", default="*", help='networks by name, such as "resnet*"')
    parser.add_argument("--out", default="docs/results/zoo.md", help="the page to write")
    arguments = parser.parse_args()
    networks = [
        name for name in list_models(module=torchvision.models) if fnmatch(name, arguments.filter)
    ]
    rows = []
    for network in networks:
        rows.append(examine(network))
        print(*rows[-1].cells(), sep=", ", flush=True)
        gc.collect()  # the next network may need the memory of this one
    write_text(arguments.out, page(rows, command()))
    return 0 if all(row.works for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
