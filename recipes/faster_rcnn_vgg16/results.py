"""Prints what the rounds gave as Markdown: precision, speed, and where the time goes.

    python recipes/faster_rcnn_vgg16/results.py --weights runs/bccd/detector.safetensors \
        --rounds runs/bccd_rounds --half runs/bccd_half/detector.safetensors --data bccd/BCCD

Precision is on the test images, with intervals by a paired bootstrap over them: every model is
judged on the same images drawn with replacement. All models are timed interleaved, an image a call.
"""

import argparse
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from train import CLASSES, SIDE, detector

from virtualpool import Frontier, fuse, load
from virtualpool.measure import latency
from virtualpool.measure.bench import device_of
from virtualpool.measure.latency import Latency
from virtualpool.measure.timing import clock
from virtualpool.tasks.detection import load_data
from virtualpool.tasks.detection.average_precision import ranked
from virtualpool.tasks.detection.coco_metric import coco_metrics
from virtualpool.tasks.detection.found import Found, found_in

ORIGINAL, HALF = "original", "half resolution"
LABELS = range(1, CLASSES + 1)
PARTS = ("transform", "backbone", "rpn", "roi_heads")


def main() -> None:
    """Judges and times all models, and prints four tables."""
    options = _options()
    original = load(detector(side=options.side), options.weights).to(options.device)
    frontier = Frontier.load(options.rounds / "frontier.json")
    rounds = [point.name for point in frontier.points if point.weights]
    unfused = {
        name: load(original, options.rounds / name / "model.safetensors", unfused=True)
        for name in rounds
    }
    test = load_data(options.data, workers=0).test
    images = [next(iter(test))[0][0].to(options.device)]
    fused = {name: fuse(model, images) for name, model in unfused.items()}
    half: dict[str, nn.Module] = {}
    if options.half:
        half[HALF] = load(detector(side=options.side // 2), options.half).to(options.device)
    judged = {ORIGINAL: original, **fused, **half}
    timed = {ORIGINAL: original, **half, **_titled("fused", fused)}
    timed |= _titled("unfused", unfused)
    batches = list(test)
    found = {name: _found(model, batches) for name, model in judged.items()}
    targets = [target for _, each in batches for target in each]
    print(precision(found, targets, options.draws))
    print(speed(timed, images, options.duration_s))
    print(split({ORIGINAL: original, rounds[-1]: fused[rounds[-1]], **half}, images))


def _titled(form: str, models: dict[str, nn.Module]) -> dict[str, nn.Module]:
    return {f"{name}, {form}": model for name, model in models.items()}


def precision(found: dict[str, list[Found]], targets: list[Found], draws: int) -> str:
    """Tables of mAP at 0.5 and of COCO mAP: each model's, its loss, and the loss's 95 % interval.

    Args:
        found: of each model, what it finds in each image.
        targets: what there is.
        draws: of the bootstrap.
    """
    drawn = torch.randint(
        len(targets), (draws, len(targets)), generator=torch.Generator().manual_seed(0)
    )
    everything = [list(range(len(targets))), *drawn.tolist()]
    values = {
        name: torch.tensor([_precisions(boxes, targets, chosen) for chosen in everything])
        for name, boxes in found.items()
    }
    lines = []
    for column, title in enumerate(("mAP at 0.5", "COCO mAP")):
        lines += [f"| model | {title} | lost | from | to |", "|---|---|---|---|---|"]
        for name, each in values.items():
            lost = _interval(values[ORIGINAL][:, column] - each[:, column])
            cells = [name, f"{each[0, column]:.3f}", *(lost if name != ORIGINAL else [""] * 3)]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _found(model: nn.Module, batches: list[Any]) -> list[Found]:
    model.eval()
    with torch.inference_mode():
        return [found for images, _ in batches for found in found_in(images, model)]


def _precisions(found: list[Found], targets: list[Found], chosen: list[int]) -> tuple[float, float]:
    boxes, there = [found[image] for image in chosen], [targets[image] for image in chosen]
    each = [ranked(boxes, there, label).average_precision("all points") for label in LABELS]
    voc = statistics.fmean(value for value in each if value is not None)
    return voc, coco_metrics(boxes, there)["coco"]


def _interval(lost: Tensor) -> list[str]:
    ends = lost[1:].quantile(torch.tensor([0.025, 0.975])).tolist()
    return [f"{each:+.3f}" for each in (lost[0].item(), *ends)]


def speed(models: dict[str, nn.Module], images: list[Tensor], duration_s: float) -> str:
    """Images a second, whole and of the backbone alone."""
    whole = latency(models, images, duration_s=duration_s)
    backbones: dict[str, Any] = {
        name: (model.get_submodule("backbone"), _resized(model, images))
        for name, model in models.items()
    }
    alone = latency(backbones, _resized(models[ORIGINAL], images), duration_s=duration_s)
    lines = [
        "| model | images a second | times faster | backbone alone, ms | times faster |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {1e3 / whole[name].median_ms:.2f} | {_faster(whole, name)} "
        f"| {alone[name].median_ms:.1f} | {_faster(alone, name)} |"
        for name in models
    ]
    return "\n".join([*lines, "", str(whole[ORIGINAL].setting), ""])


def _resized(model: nn.Module, images: list[Tensor]) -> Tensor:
    with torch.inference_mode():
        return model.get_submodule("transform")(images)[0].tensors


def _faster(latencies: dict[str, Latency], name: str) -> str:
    return f"{latencies[name].speedup_over(latencies[ORIGINAL]).median:.2f}"


def split(models: dict[str, nn.Module], images: list[Tensor], calls: int = 15) -> str:
    """Milliseconds of a detector's parts, medians; what comes after the heads is left out."""
    lines = [f"| model | {', ms | '.join(PARTS)}, ms |", "|---" * (len(PARTS) + 1) + "|"]
    for name, model in models.items():
        with _clocked(model) as times, torch.inference_mode():
            for _ in range(calls):
                model(images)
        cells = [f"{1e3 * statistics.median(times[part]):.1f}" for part in PARTS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@contextmanager
def _clocked(model: nn.Module) -> Iterator[dict[str, list[float]]]:
    """Of each part, the seconds that its calls took, in the list that is given."""
    now = clock(device_of(model))
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    hooks = []
    for part in PARTS:

        def begin(*_: Any, part: str = part) -> None:
            times[part].append(-now())

        def end(*_: Any, part: str = part) -> None:
            times[part][-1] += now()

        module = model.get_submodule(part)
        hooks += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    try:
        yield times
    finally:
        for hook in hooks:
            hook.remove()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, help="of the original detector")
    parser.add_argument("--rounds", type=Path, required=True, help="the directory of the rounds")
    parser.add_argument("--half", type=Path, help="of the one for half resolution")
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of VOC")
    parser.add_argument("--side", type=int, default=SIDE, help="that the original was trained on")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--draws", type=int, default=200, help="of the bootstrap")
    parser.add_argument("--duration-s", type=float, default=5, help="of timing, per model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
