"""Proposition 1 in numbers: bounds, true errors, and whether a bound ranks sites.

    python -m benchmarks.accuracy.bound --trunk vgg16-imagenet-trunk.safetensors \
        --images imagenet-sample --cifar10 cifar10 --markdown bound-tables.md

VGG-16's trunk (up to conv5_3's activation) on ImageNet images, whose sites are ranked by the cosine
similarity of the last map that they cost; All-CNN-C on CIFAR-10, by the accuracy. Both bounds and
the error are divided by the norm of the network's output.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.functional import spearman_corrcoef

from benchmarks.common.arguments import parser
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import show, table
from virtualpool.bound import Bound, error_bounds
from virtualpool.graph.running import evaluating
from virtualpool.measure.score import Evaluate
from virtualpool.models import all_cnn_c
from virtualpool.models.faster_rcnn_vgg16 import VGG16Trunk
from virtualpool.search import Score, sensitivity
from virtualpool.tasks.classification import Preprocessing, evaluator, load_data
from virtualpool.tasks.preprocessing import CIFAR10

COLUMNS: dict[str, Callable[[Bound], Tensor]] = {
    "paper's bound": lambda it: it.paper / it.output,
    "our bound": lambda it: it.bound / it.output,
    "true error": lambda it: it.error / it.output,
    "error at the next weights": lambda it: it.change / it.read,
}


def main() -> None:
    options = _options()
    sections = [
        setting(torch.get_num_threads(), ["torch"]),
        f"    {command()}",
        *report([_trunk(options), _all_cnn_c(options)]),
    ]
    show("\n\n".join(map(str.rstrip, sections)), options.markdown)


@dataclass(frozen=True)
class Bounds:
    """The bounds of a network's sites, and what these cost.

    Attributes:
        network: its name.
        title: of its section.
        bounds: of each site.
        drops: of each site by name, as measured.
    """

    network: str
    title: str
    bounds: list[Bound]
    drops: dict[str, float]

    @property
    def columns(self) -> dict[str, Tensor]:
        """Of each column a number for each site: the mean over the images."""
        return {
            name: torch.stack([of(it).mean() for it in self.bounds]) for name, of in COLUMNS.items()
        }

    @property
    def measured(self) -> Tensor:
        """The drops in the order of the sites."""
        return torch.tensor([self.drops[it.site] for it in self.bounds], dtype=torch.float64)

    def agreement(self, column: str) -> str:
        """How well a column ranks the sites as the measured drops do: Spearman's coefficient."""
        return f"{spearman_corrcoef(self.columns[column], self.measured):.2f}"


def _trunk(options: argparse.Namespace) -> Bounds:
    trunk = VGG16Trunk().eval()
    trunk.load_state_dict(load_file(options.trunk))
    preparation = Preprocessing(size=options.side, resize=options.side * 8 // 7)
    batches = list(_batches(options.images, preparation, options.judged))
    title = (
        f"VGG-16's trunk, {options.bounded} images of side {options.side}; "
        f"cosine similarity of {options.judged}"
    )
    evaluate = _similarity(trunk, batches)
    return _bounds("VGG-16's trunk", title, trunk, batches, evaluate, options.bounded)


def _all_cnn_c(options: argparse.Namespace) -> Bounds:
    batches = list(_batches(options.cifar10, CIFAR10, options.judged_small))
    title = f"All-CNN-C, {options.bounded_small} images; accuracy on {options.judged_small}"
    network, evaluate = all_cnn_c("cifar10").eval(), evaluator(batches)
    return _bounds("All-CNN-C", title, network, batches, evaluate, options.bounded_small)


def _batches(source: Any, preparation: Preprocessing, count: int) -> Iterator[Any]:
    data = load_data(source, preprocessing=preparation, batch_size=32, subset=count, workers=0)
    yield from data.test


def _bounds(
    name: str,
    title: str,
    network: nn.Module,
    batches: list[Any],
    evaluate: Evaluate,
    bounded: int,
) -> Bounds:
    images = torch.cat([images for images, _ in batches])[:bounded].contiguous()
    ranking = sensitivity(network, images[:1], evaluate)
    drops = {site.name: site.drop for site in ranking.sites}
    return Bounds(name, title, error_bounds(network, "all", images), drops)


def report(found: list[Bounds]) -> Iterator[str]:
    """How well each column ranks sites, then a section a network."""
    yield "Rank correlation with the measured drop (Spearman's coefficient, 1 is best):"
    rows = [[column, *(each.agreement(column) for each in found)] for column in COLUMNS]
    yield table(["ranked by", *(each.network for each in found)], rows)
    for each in found:
        yield f"## {each.title}"
        yield _sites(each)
        yield _factors(each.bounds[0])
        ours, paper = (
            max((it.error / limit(it)).max().item() for it in each.bounds)
            for limit in (lambda it: it.bound, lambda it: it.paper)
        )
        yield (
            f"The largest error of an image is {ours:.9f} of our bound, {paper:.3f} of the paper's."
        )


def _sites(found: Bounds) -> str:
    columns = found.columns
    rows = [
        [it.site, *(f"{column[index]:.3g}" for column in columns.values()), f"{drop:.4f}"]
        for index, (it, drop) in enumerate(zip(found.bounds, found.measured, strict=True))
    ]
    return table(["site", *columns, "measured drop"], rows)


def _factors(first: Bound) -> str:
    rows = [[it.name, f"{it.paper:.1f}", f"{it.norm:.2f}"] for it in first.factors]
    return table(["convolution", "factor of the paper's bound", "factor of our bound"], rows)


def _similarity(original: nn.Module, batches: list[Any]) -> Evaluate:
    def maps(model: nn.Module) -> Tensor:
        with evaluating(model), torch.autocast("cpu", torch.bfloat16):
            return torch.cat([model(images).float().flatten(1) for images, _ in batches])

    expected = maps(original)
    return lambda model: Score.of(functional.cosine_similarity(maps(model), expected))


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--trunk", type=Path, required=True, help="features.N.weight and .bias")
    options.add_argument("--images", type=Path, required=True, help="a folder with val/CLASS/IMAGE")
    options.add_argument("--side", type=int, default=224, help="of the trunk's images")
    options.add_argument("--cifar10", default="sample:cifar10", help="as --data of the command")
    options.add_argument(
        "--bounded", type=int, default=8, help="images that the trunk is bounded on"
    )
    options.add_argument(
        "--judged", type=int, default=64, help="images that rank the trunk's sites"
    )
    options.add_argument("--bounded-small", type=int, default=64, help="the same of All-CNN-C")
    options.add_argument("--judged-small", type=int, default=2000, help="the same of All-CNN-C")
    return options.parse_args()


if __name__ == "__main__":
    main()
