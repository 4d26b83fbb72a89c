"""The frontier of a target beside its rivals, each recovered alike and for as long.

    python -m benchmarks.accuracy.frontier virtualpool:all_cnn_c --weights cifar10 --data cifar10 \
        --images 1000 --epochs 1 --train-images 2000 --border padded --run-dir runs/frontier

The rivals are smaller images alone, the paper's rounds, all sites at once and Torch-Pruning, in an
environment of its own. All that are pooled are reconstructed with the same images; then all are
distilled from the original's outputs and maps. The longest chain of the target's plans, each
trained on from the one before, decides how long: smaller images, pruned networks and all sites are
trained for as many epochs in one go, the rounds in three parts. At the end all models are timed
interleaved. Every model is kept in the run's directory: stopped, the program goes on. The
directory also gets `frontier.svg`.
"""

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import virtualpool as vp
from benchmarks.accuracy.ablation.figure import draw
from benchmarks.accuracy.ablation.pruning import pruned
from benchmarks.accuracy.ablation.results import Result
from benchmarks.accuracy.reconstruction import Training, training_of
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from benchmarks.common.task import add_training, opened, parser
from virtualpool.cli.task import Task
from virtualpool.files import write_text
from virtualpool.graph.image_scale import without_resizing
from virtualpool.measure.latency import Latency, LatencyOptions, Speedup, latency
from virtualpool.measure.prepared import Timed
from virtualpool.search import Grouped, Run
from virtualpool.search.frontier.lead import lead
from virtualpool.search.planning.candidates import SCALES
from virtualpool.search.planning.keeping import base_of
from virtualpool.search.planning.trial import Draft

TARGET = "virtual pooling"
SMALLER, ROUNDS, ALL = "smaller images", "the paper's rounds", "all sites"
PRUNED, PARTS = "Torch-Pruning", ("0.44", "0.28")
"""The parts of the multiply-accumulates that are left."""
RIVALS = (SMALLER, ROUNDS, ALL, PRUNED)
HEAD = ["way", "sites", "image scale", "accuracy, %", "drop, points", "speed-up", "MACs"]
LEADS = ["rival", "at", f"{TARGET}, points ahead", "± paired, points"]
_ROUNDS = 3


@dataclass(frozen=True)
class Model:
    """A model of one way, recovered and judged."""

    sites: int
    scale: float
    score: vp.Score
    drop: vp.Score
    timed: Timed
    macs: int


def main() -> None:
    given = arguments()
    subject = Subject(opened(given, "none"), given)
    ways: dict[str, list[Model]] = {TARGET: subject.target()}
    rivals = subject.rivals()
    ways |= {way: [*rivals[way]()] for way in given.rivals}
    times = subject.timed(ways)
    speeds = {
        way: [
            times[f"{way} {place}"].speedup_over(times["original"]) for place in range(len(models))
        ]
        for way, models in ways.items()
    }
    conditions = str(times["original"].setting)
    text = (
        f"{given.model}: {given.images} images solve, {given.epochs:g} epochs of "
        f"{given.train_images or 'all'} images a plan distil, {subject.long:g} in all at most. "
        f"Unmodified: {100 * subject.original:.2f} %. Timed: {times['original']}\n\n"
        f"{table(HEAD, rows(ways, speeds))}\n"
        f"{table(LEADS, leads(ways, speeds, subject.original))}\n"
        f"{setting(torch.get_num_threads(), ['torch'])}, seed {given.seed}\n\n    {command()}\n"
    )
    print(text)
    write_text(given.run_dir / "table.md", text)
    unmodified = result(subject.original, times["original"].speedup_over(times["original"]))
    lines = {
        way: [result(it.score, speed) for it, speed in zip(ways[way], speeds[way], strict=True)]
        for way in ways
    }
    condition = "Trained for as long" if given.epochs else "Without training"
    draw([unmodified], lines, conditions, given.run_dir / "frontier.svg", condition)


class Subject:
    """A network, and the ways to make it faster."""

    def __init__(self, task: Task, given: Namespace) -> None:
        self.task, self.given = task, given
        self.model, self.example = task.module.eval(), task.images
        self.judge = task.evaluator()
        self.solving = task.data.some_training_images(given.images, given.seed)
        self.training: Training | None = training_of(given) if given.epochs else None
        self.sites = [site.name for site in vp.sites(self.model, self.example) if site.eligible]
        self.run = Run(given.run_dir)
        self.original = self._score("original", self.model)
        self.long = 0.0

    def target(self) -> list[Model]:
        """The models of a target, which also say how long the rivals are trained."""
        frontier = self._searched(
            "target",
            target=vp.Target(self.given.points),
            recoverable=self.solving,
            image_scales=self.given.image_scales,
            budget=self.given.budget,
            finetune=self._distillation(),
            epochs=self.given.epochs or None,
        )
        drafts = [Draft(tuple(it.plan.names), it.plan.image_scale) for it in frontier.points[1:]]
        self.long = self.given.epochs * max(
            (_chain(drafts, it + 1) for it in range(len(drafts))), default=1
        )
        return [*self._models("target", frontier)]

    def rivals(self) -> dict[str, Callable[[], Iterable[Model]]]:
        """What makes the models of each rival."""
        return {
            SMALLER: self.smaller,
            ROUNDS: lambda: self.rounds("rounds", Grouped(count=_ROUNDS)),
            ALL: lambda: self.rounds("all", [self.sites]),
            PRUNED: self.pruned,
        }

    def smaller(self) -> Iterator[Model]:
        """The unmodified network on smaller images, trained for as long."""
        for scale in (each for each in self.given.image_scales if each < 1):
            smaller = vp.apply(self.model, self.example, [], image_scale=scale)
            yield self._trained(f"smaller-{scale:g}", smaller, self.model)

    def pruned(self) -> Iterator[Model]:
        """The network with fewer channels, trained for as long."""
        folder: Path = self.given.run_dir / "pruned"
        if not (folder / f"part-{PARTS[-1]}.pt").exists():
            pruned(self.model, folder, self.given.run_dir)
        for part in PARTS:
            model = torch.load(folder / f"part-{part}.pt", weights_only=False)
            yield self._trained(f"pruned-{part}", model, model)

    def _trained(self, name: str, model: torch.nn.Module, network: torch.nn.Module) -> Model:
        if self.training:
            long = replace(self.training, settings=self.training.settings | {"epochs": self.long})
            path: Path = self.given.run_dir / f"{name}.safetensors"
            model = long.kept(path, model, network, self.model, self.judge)
        return self._model(name, model)

    def rounds(self, name: str, schedule: Any) -> list[Model]:
        """The models of rounds, the last of which is trained for as long."""
        count = len(schedule) if isinstance(schedule, list) else _ROUNDS
        distilled = self._distillation()
        frontier = self._searched(
            name,
            rounds=schedule,
            finetune=[
                vp.by_reconstruction(self.model, self.solving), *([distilled] if distilled else [])
            ],
            epochs=self.long / count or None,
        )  # fmt: skip
        return [*self._models(name, frontier)]

    def timed(self, ways: Mapping[str, Sequence[Model]]) -> dict[str, Latency]:
        """How long all models take, interleaved."""
        models: dict[str, Timed] = {"original": self.model}
        for way, found in ways.items():
            models |= {f"{way} {place}": each.timed for place, each in enumerate(found)}
        options: LatencyOptions = {**self._latency(), "duration_s": self.given.duration_s}
        return latency(models, self.example, **options)

    def _latency(self) -> LatencyOptions:
        given = self.given
        return {"mode": given.mode, "batch": given.timing_batch, "repeats": given.repeats}

    def _searched(self, name: str, **asked: Any) -> vp.Frontier:
        return vp.search(
            self.model,
            self.example,
            evaluate=self.judge,
            run_dir=self.given.run_dir / name,
            border=self.given.border,
            latency=self._latency(),
            seed=self.given.seed,
            **asked,
        )

    def _distillation(self) -> Any:
        if self.training is None:
            return None
        settings = {name: it for name, it in self.training.settings.items() if name != "epochs"}
        return replace(self.training, settings=settings).by(self.model)

    def _models(self, name: str, frontier: vp.Frontier) -> Iterator[Model]:
        for point in frontier.points[1:]:
            yield self._model(f"{name}, {point.name}", frontier.restore(self.model, point))

    def _model(self, name: str, model: torch.nn.Module) -> Model:
        score, plan = self._score(name, model), vp.plan_of(model)
        return Model(
            len(plan.sites), plan.image_scale, score, self.original - score,
            without_resizing(model, self.example), vp.measure.macs(model, self.example),
        )  # fmt: skip

    def _score(self, name: str, model: torch.nn.Module) -> vp.Score:
        return self.run.remember(
            f"{name}/score.json", lambda: vp.Score.of(self.judge(model.eval())).to_json()
        )


def _chain(drafts: Sequence[Draft], index: int) -> int:
    """How many plans are trained one on the other up to this one."""
    base = base_of(index, drafts)
    return 1 + (_chain(drafts, base) if base else 0)


def rows(
    ways: Mapping[str, Sequence[Model]], speeds: Mapping[str, Sequence[Speedup]]
) -> list[list[str]]:
    """A row a model."""
    return [
        [
            way, str(it.sites), f"{it.scale:g}", f"{100 * it.score:.2f}",
            f"{100 * it.drop:.2f} ± {100 * (it.drop.standard_error or 0):.2f}", str(speed),
            f"{it.macs / 1e6:.1f} M",
        ]
        for way in ways
        for it, speed in zip(ways[way], speeds[way], strict=True)
    ]  # fmt: skip


def leads(
    ways: Mapping[str, Sequence[Model]], speeds: Mapping[str, Sequence[Speedup]], original: float
) -> list[list[str]]:
    """How far the target's line is ahead of each rival, at each speed of one of its models."""
    made = zip(ways[TARGET], speeds[TARGET], strict=True)
    ours = sorted([(1.0, float(original)), *((at.median, float(it.score)) for it, at in made)])
    found = []
    for way in (way for way in ways if way != TARGET):
        for model, speed in zip(ways[way], speeds[way], strict=True):
            at = (speed.median, float(model.score))
            nearest = min(
                zip(ways[TARGET], speeds[TARGET], strict=True),
                key=lambda each, at=at: abs(each[1].median - at[0]),
                default=None,
            )
            ahead = lead(ours, [at])
            error = nearest and (nearest[0].score - model.score).standard_error
            found.append(
                [
                    way, f"{at[0]:.2f}x", f"{100 * ahead[0][1]:+.2f}" if ahead else "no such speed",
                    f"{100 * error:.2f}" if error else "",
                ]
            )  # fmt: skip
    return found


def result(score: float, speed: Speedup) -> Result:
    """A model as the picture takes it."""
    return Result("", [float(score)], 0, speed, None)


def arguments() -> Namespace:
    added = parser(__doc__)
    added.add_argument("--points", type=int, default=6, help="of the target")
    added.add_argument("--budget", type=float, help="seconds of the target's search")
    added.add_argument(
        "--image-scales", nargs="+", type=float, default=SCALES, help="that the target tries"
    )
    add_training(added, 1, "of each plan; 0 trains nothing")
    added.add_argument("--rivals", nargs="+", choices=RIVALS, default=RIVALS, help="all of them")
    added.add_argument("--mode", choices=("eager", "compiled"), default="compiled")
    added.add_argument("--timing-batch", type=int, default=32, help="images a call that is timed")
    added.add_argument("--repeats", type=int, default=15)
    added.add_argument("--duration-s", type=float, default=10, help="of timing a model at the end")
    return added.parse_args()


if __name__ == "__main__":
    main()
