"""Recovers a pooled VGG-16 trunk without labels on 800 ImageNet images.

It is reconstructed, then distilled from the original.

    python recipes/vgg16_trunk/run.py --trunk vgg16-imagenet-trunk.safetensors \
        --images imagenet-sample --run-dir runs/vgg16_trunk

The rounds are those that the paper's authors published (rounds.json); `--all-at-once` pools their
sites in one round. `--smaller-images` trains the unmodified trunk on images of half the height and
width alike. The score is the cosine similarity of the last map (the output of conv5_3's activation)
with the original's, on images that are never trained on. Stopped, it goes on when it is started
again.
"""

import argparse
import json
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import vgg16

from virtualpool import apply
from virtualpool.files import write_text
from virtualpool.graph.running import evaluating
from virtualpool.observer import printed
from virtualpool.search import (
    Frontier,
    Round,
    Score,
    Sensitivity,
    by_distillation,
    by_reconstruction,
    read_records,
    search,
)
from virtualpool.search import sensitivity as sensitivity_of
from virtualpool.tasks.images import Images
from virtualpool.tasks.preprocessing import Preprocessing

HELD_OUT = 200
LAST_POOL = 30
EPOCHS = (2.0, 2.0, 2.0, 6.0)
"""Of each round; the last one has every site but 2_1 pooled and the most to win back."""


def main() -> None:
    """Runs the rounds and writes the tables beside the run."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    trunk = trunk_with(options.trunk)
    solving, train, held_out = batches(options.images, options.batch_size, options.solving)
    evaluate = Similarity(trunk, held_out, options.precision)
    example = torch.zeros(1, 3, 224, 224)
    distillation = by_distillation(
        trunk,
        train,
        epochs=EPOCHS[-1] * options.length,
        learning_rate=options.learning_rate,
        optimizer="adamw",
        rate_schedule="cosine",
        mixed_precision=options.precision,
    )
    if options.smaller_images:
        smaller = on_smaller_images(trunk, example)
        print(f"images of half the height and width: {evaluate(smaller)}", flush=True)
        training = Round.of_training(options.run_dir / "smaller", evaluate, printed)
        distillation(smaller, training)
        print(f"distilled: {evaluate(smaller)}")
        return
    rounds = json.loads(Path(__file__).with_name("rounds.json").read_text())
    epochs, ranking = EPOCHS, None
    if options.all_at_once:
        rounds, epochs = [[name for names in rounds for name in names]], EPOCHS[-1:]
        pooled = apply(trunk, example, rounds[0])
        print(f"pooled, with the given weights: {evaluate(pooled)}", flush=True)
    else:
        ranking = sensitivity_of(trunk, example, evaluate, path=options.run_dir / "one-site.json")
    frontier = search(
        trunk,
        example,
        evaluate=evaluate,
        finetune=[by_reconstruction(trunk, solving, memory_gib=options.memory_gib), distillation],
        rounds=rounds,
        epochs=[each * options.length for each in epochs],
        run_dir=options.run_dir / "rounds",
        sensitivity=ranking,
        settings={"learning rate": options.learning_rate, "batch size": options.batch_size},
        observer=printed,
    )
    text = tables(ranking, frontier)
    write_text(options.run_dir / "tables.md", text)
    print(text)


def trunk_with(weights: Path) -> nn.Sequential:
    """VGG-16's convolutions, activations and inner poolings, up to conv5_3's activation."""
    layers = list(vgg16(weights=None).features.children())[:LAST_POOL]
    trunk = nn.Sequential(OrderedDict(features=nn.Sequential(*layers)))
    trunk.load_state_dict(load_file(weights))
    return trunk.eval()


def batches(folder: Path, size: int, solving: int) -> list[DataLoader[Any]]:
    """Training images as they are, so many, the same with crops and flips, and held-out ones.

    Every split is the same.
    """
    source = ImageFolder(str(folder / "val"))
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(0)).tolist()
    preparation = Preprocessing(size=224, resize=256, augmentation="resized crop")
    held_out = Images(source, preparation, training=False, indices=sorted(order[:HELD_OUT]))
    train = Images(source, preparation, training=True, indices=sorted(order[HELD_OUT:]))
    plain = Images(source, preparation, training=False, indices=sorted(order[HELD_OUT:][:solving]))
    return [
        DataLoader(plain, size, collate_fn=_whole),
        DataLoader(train, size, shuffle=True, drop_last=True, collate_fn=_whole),
        DataLoader(held_out, size, collate_fn=_whole),
    ]


class Similarity:
    """An `evaluate(model)` that compares last maps with the original's."""

    def __init__(self, original: nn.Module, held_out: Iterable[Any], precision: str) -> None:
        self._held_out, self._is_half = held_out, precision == "bf16"
        self._expected = self._maps(original)

    def __call__(self, model: nn.Module) -> Score:
        """The mean cosine similarity, with the mean relative change beside it."""
        changed, expected = self._maps(model), self._expected
        cosine = functional.cosine_similarity(changed, expected)
        change = (changed - expected).norm(dim=1) / expected.norm(dim=1)
        return Score.of(cosine, {"relative change": float(change.mean())})

    @torch.no_grad()
    def _maps(self, model: nn.Module) -> Tensor:
        # All maps are rounded alike.
        half = torch.autocast("cpu", torch.bfloat16, enabled=self._is_half)
        with evaluating(model), half:
            return torch.cat([model(images).float().flatten(1) for images, _ in self._held_out])


def on_smaller_images(trunk: nn.Module, example: Tensor) -> nn.Module:
    """The trunk on images of half the height and width; its last map is enlarged."""
    model = apply(trunk, example, [], image_scale=0.5)

    def enlarged(module: nn.Module, images: Any, small: Tensor) -> Tensor:
        return functional.interpolate(small, scale_factor=2, mode="bilinear")

    model.register_forward_hook(enlarged)
    return model


def tables(ranking: Sensitivity | None, frontier: Frontier) -> str:
    """The tables of docs/results/vgg16_trunk.md: of rounds, and of each site if they were ranked.

    `before` is after the reconstruction, and before the training.
    """
    assert frontier.directory is not None
    rounds = ["| round | sites | GMACs | cosine before | cosine after |", "|---|---|---|---|---|"]
    changes = ["| round | change before | change after |", "|---|---|---|"]
    for index, point in enumerate(frontier.points[1:], 1):
        records = read_records(frontier.directory / point.name / "training.jsonl")
        before = next(record for record in records if "accuracy" in record)
        rounds.append(
            f"| round {index} | {len(point.plan.sites)} | {point.macs / 1e9:.2f} "
            f"| {before['accuracy']:.3f} | {point.accuracy:.3f} ± {point.standard_error:.3f} |"
        )
        changes.append(
            f"| round {index} | {before['relative change']:.3f} "
            f"| {point.metrics['relative change']:.3f} |"
        )
    sites = ["| site | before a pool | cosine | relative change |", "|---|---|---|---|"]
    for site in ranking.sites if ranking else ():
        pool, change = "yes" if site.before_pool else "", site.score.metrics["relative change"]
        sites.append(f"| {site.name} | {pool} | {site.score:.3f} | {change:.3f} |")
    return "\n".join([*rounds, "", *changes, "", *(sites if ranking else [])]).rstrip() + "\n"


def _whole(batch: Any) -> Any:
    # `Images` makes whole batches.
    return batch


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trunk", type=Path, required=True, help="features.N.weight and .bias")
    parser.add_argument("--images", type=Path, required=True, help="a folder with val/CLASS/IMAGE")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--length", type=float, default=1.0, help="times the epochs of each round")
    parser.add_argument("--solving", type=int, default=800, help="images that reconstruct")
    parser.add_argument("--memory-gib", type=float, default=4.0, help="for their maps")
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--all-at-once", action="store_true", help="one round of all 12 sites")
    alone.add_argument(
        "--smaller-images", action="store_true", help="train the trunk on these alone, unpooled"
    )
    parser.add_argument("--precision", choices=("no", "bf16"), default="bf16")
    parser.add_argument("--threads", type=int, help="of torch; as many as it takes itself")
    return parser.parse_args()


if __name__ == "__main__":
    main()
