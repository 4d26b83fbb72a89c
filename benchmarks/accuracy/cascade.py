"""Whether a cascade keeps its promise: calibrated on one half of the images, judged on the other.

    python -m benchmarks.accuracy.cascade virtualpool:all_cnn_c --weights cifar10 \
        --data sample:cifar10 --images 2000 --border padded --run-dir runs/cascade \
        --plan "all nine" --plan "convs.1, 4" convs.1 convs.4 --time 0 0.01

Each plan is reconstructed without labels; `--fast` adds models that are saved. The answers of each
for the test images are kept: a split needs no network. Each split draws which half of them
calibrates. The speed-up of multiply-accumulates takes the share that the fast model answers on the
judged half; with `--time` both models are timed, interleaved, an image a call and in batches.
"""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

import virtualpool as vp
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from benchmarks.common.task import opened, parser, plans
from virtualpool.cascade.calibrating import Calibration, Compared, Outcome, calibrated, outcome
from virtualpool.cascade.collecting import collected
from virtualpool.cli.task import Task
from virtualpool.files import write_text
from virtualpool.measure.latency import LatencyOptions

DROPS = (0.0, 0.005, 0.01, 0.02)
"""As `max_drop`."""
HEAD = [
    "fast model", "its drop, points", "max_drop", "answered by the fast model", "speed-up, MACs",
    "drop on the other half, points", "largest, points", "lost there, points", "promised, points",
    "splits within the promise", "splits within max_drop",
]  # fmt: skip
TIMED = [
    "fast model", "images a call", "original", "fast model alone", "worst case",
]  # fmt: skip
TIMING: LatencyOptions = {"repeats": 15, "mode": "compiled", "batch": 32}


@dataclass(frozen=True)
class Split:
    """A calibration on one half, and what became of the other half by it."""

    calibration: Calibration
    judged: Outcome


class Subject:
    """A network, and fast models of it, whose answers are kept in the run's directory."""

    def __init__(self, task: Task, given: Namespace) -> None:
        self.model, self.example = task.module.eval(), task.images
        self.task, self.given = task, given

    def fast(self, name: str, sites: list[str]) -> nn.Module:
        """A plan, reconstructed and fused."""
        path: Path = self.given.run_dir / f"{name}.safetensors"
        if not path.exists():
            pooled = vp.apply(self.model, self.example, sites, border=self.given.border)
            images = self.task.data.some_training_images(self.given.images, self.given.seed)
            solved = vp.reconstruct(pooled, self.model, images)
            vp.save(vp.fuse(solved, self.example), path)
        return vp.load(self.model, path)

    def answers(self, models: Mapping[str, nn.Module]) -> dict[str, Compared]:
        """What fast models give for the test images, each beside the original."""
        paths = {name: self.given.run_dir / f"{name}.pt" for name in models}
        new = {name: model for name, model in models.items() if not paths[name].exists()}
        if new:
            for name, found in collected(new, self.model, self.task.data.test)[0].items():
                torch.save(found, paths[name])
        return {name: torch.load(path, weights_only=False) for name, path in paths.items()}

    def times(self, name: str, model: nn.Module, answers: Compared) -> list[list[str]]:
        """A row a number of images a call: latencies, and a cascade's by each `max_drop`."""
        half = some(answers, halves(answers, 0)[0])
        found = [calibrated(half, max_drop=drop) for drop in self.given.time]
        images = next(iter(self.task.data.test))[0]
        timed = vp.Cascade(model, self.model, found[0]).timed(images, **TIMING)
        return [
            [
                name, str(it.images), f"{it.slow.median_ms:.3g} ms", f"{it.fast.median_ms:.3g} ms",
                f"{it.worst_ms:.3g} ms",
                *(f"{it.speedup(each.outcome.answered):.2f}x" for each in found),
            ]
            for it in timed.times
        ]  # fmt: skip

    def work(self, model: nn.Module) -> float:
        """The multiply-accumulates of a model, as a part of the original's."""
        count = vp.measure.macs
        return count(model, self.example) / count(self.model, self.example)


def main() -> None:
    given = arguments()
    given.run_dir.mkdir(parents=True, exist_ok=True)
    task = opened(given, "none")
    subject = Subject(task, given)
    rows, times = [], []
    asked = plans(given, task) if given.plan or not given.fast else []
    models = {name: subject.fast(name, sites) for name, sites in asked}
    models |= {name: vp.load(subject.model, path) for name, path in given.fast}
    found = subject.answers(models)
    for name, model in models.items():
        work = subject.work(model)
        rows += [[name, *row(found[name], drop, work, given)] for drop in given.max_drop]
        if given.time:
            times += subject.times(name, model, found[name])
    count, score = next((len(each), each.score) for each in found.values())
    text = (
        f"{given.model}: {count} test images, of which a half calibrates and the other judges by "
        f"{score}; {given.splits} splits, confidence {given.confidence:g}.\n\n"
        f"{table(HEAD, rows)}\n"
    )
    if times:
        text += f"{table([*TIMED, *(f'speed-up at {drop:g}' for drop in given.time)], times)}\n"
    text += f"{setting(torch.get_num_threads(), ['torch'])}\n\n    {command()}\n"
    print(text)
    write_text(given.run_dir / "table.md", text)


def row(answers: Compared, max_drop: float, work: float, given: Namespace) -> list[str]:
    """The cells of a fast model and a `max_drop`, over all splits."""
    whole = outcome(answers, 1.0, -1.0)
    try:
        splits = [split(answers, seed, max_drop, given.confidence) for seed in range(given.splits)]
    except vp.VirtualPoolError:
        return [points(whole.drop), f"{max_drop:g}", "refused: too few", *[""] * (len(HEAD) - 4)]
    kept = [it.judged.drop <= it.calibration.promised for it in splits]
    strict = [it.judged.drop <= max_drop for it in splits]
    answered = mean([it.judged.answered for it in splits])
    drops = [it.judged.drop for it in splits]
    lost = mean([it.judged.lost / it.judged.images for it in splits])
    return [
        points(whole.drop),
        f"{max_drop:g}",
        f"{answered:.1%}",
        f"{1 / (work + 1 - answered):.2f}x",
        points(mean(drops)),
        points(max(drops)),
        points(lost),
        points(splits[0].calibration.promised),
        f"{sum(kept)} of {len(kept)}",
        f"{sum(strict)} of {len(strict)}",
    ]


def split(answers: Compared, seed: int, max_drop: float, confidence: float) -> Split:
    """A calibration on a half that the seed draws, and what it does with the other half."""
    calibrating, judging = (some(answers, half) for half in halves(answers, seed))
    found = calibrated(calibrating, max_drop=max_drop, confidence=confidence)
    return Split(found, outcome(judging, found.temperature, found.threshold))


def halves(answers: Compared, seed: int) -> tuple[Tensor, ...]:
    """The places of the images of both halves."""
    order = torch.randperm(len(answers), generator=torch.Generator().manual_seed(seed))
    return order.tensor_split([len(answers) // 2])


def some(answers: Compared, places: Tensor) -> Compared:
    """The answers for the images at these places."""

    def chosen(values: Any) -> Any:
        if isinstance(values, list):
            return [values[place] for place in places.tolist()]
        return values[places] if isinstance(values, Tensor) else values

    return replace(
        answers, **{it.name: chosen(getattr(answers, it.name)) for it in fields(answers)}
    )


def points(share: float) -> str:
    """A share in points, without a minus before nothing."""
    return f"{100 * share + 0.0:.2f}"


def arguments() -> Namespace:
    added = parser(__doc__)
    added.add_argument(
        "--fast", nargs=2, action="append", default=[], metavar=("NAME", "FILE"),
        help="a model of `save`, such as of a run of tune; without --plan no other is tried",
    )  # fmt: skip
    added.add_argument("--max-drop", type=float, nargs="+", default=DROPS)
    added.add_argument("--splits", type=int, default=20)
    added.add_argument("--confidence", type=float, default=0.95)
    added.add_argument(
        "--time", type=float, nargs="*", default=(), help="time both models, for these max_drop"
    )
    return added.parse_args()


if __name__ == "__main__":
    main()
