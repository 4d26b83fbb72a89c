"""The steps of Algorithm 1: each finds its result in the run directory or makes it."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from virtualpool import processes
from virtualpool.apply import apply
from virtualpool.documents import write_document
from virtualpool.errors import VirtualPoolError
from virtualpool.fingerprint import fingerprint, name_of
from virtualpool.graph.inputs import describe
from virtualpool.graph.random_numbers import seeded
from virtualpool.measure.energy import Meter
from virtualpool.measure.energy.measuring import EnergyOptions
from virtualpool.measure.latency import LatencyOptions
from virtualpool.measure.macs import macs
from virtualpool.measure.score import Evaluate, Score, judge
from virtualpool.observer import Observer
from virtualpool.plan import Border, plan_of
from virtualpool.processes import is_main
from virtualpool.recover.round import Finetune, Round
from virtualpool.search.frontier import Frontier, Point
from virtualpool.search.recovering import Recovering
from virtualpool.search.run import Run
from virtualpool.search.run.models import Models
from virtualpool.search.schedule import Rounds
from virtualpool.search.sensitivity import Recalibrate, Sensitivity, sensitivity
from virtualpool.storage import load
from virtualpool.words import count, some


@dataclass(frozen=True)
class Steps:
    """A search's arguments (see `search`), and the steps that it takes with them."""

    run: Run
    model: nn.Module
    example_inputs: Any
    evaluate: Evaluate
    recoveries: tuple[Finetune, ...]
    learning_rates: list[float | None]
    epochs: list[float | None]
    training_steps: list[int | None]
    max_drop: float | None
    latency: LatencyOptions
    energy: EnergyOptions | None
    seed: int
    observer: Observer
    border: Border = "exact"

    @property
    def recovering(self) -> Recovering:
        """Recovers models by the search's recoveries."""
        return Recovering(self.run, self.recoveries, self.example_inputs, self.seed)

    @property
    def models(self) -> Models:
        """The models that the rounds give."""
        given = self.example_inputs, self.latency, self.energy, self.border
        return Models(self.run, self.model, *given)

    def config(self) -> dict[str, Any]:
        """The arguments as a JSON-able value."""
        return {
            "model": type(self.model).__name__,
            "weights": fingerprint(self.model.state_dict()),
            "inputs": describe(self.example_inputs),
            "evaluate": name_of(self.evaluate),
            "finetune": _one_if_alone([name_of(each) for each in self.recoveries]),
            "processes": processes.count(),
            "learning_rates": self.learning_rates,
            "epochs": self.epochs,
            "training_steps": self.training_steps,
            "max_drop": self.max_drop,
            "latency": _all_named(self.latency),
            "energy": self.energy and _all_named(self.energy),
            "seed": self.seed,
            # Runs of version 0.2 say nothing of it, and go on.
            **({"border": self.border} if self.border != "exact" else {}),
        }

    def original(self) -> Point:
        """Evaluates and times the unmodified model."""
        self.observer("original", 0, 1, "the unmodified model")
        point = self._point(0)
        self.observer("original", 1, 1, "done")
        return point

    def given(self, ranking: Sensitivity) -> Sensitivity:
        """Keeps a ranking that the user brought."""
        return self.run.remember("sensitivity.json", ranking.to_json)

    def sensitivity(
        self,
        names: list[str],
        recalibrate: Recalibrate | None,
        recoverable: Iterable[Any] | None,
    ) -> Sensitivity:
        """Ranks the sites by the cost of each alone."""
        ranking = sensitivity(
            self.model,
            self.example_inputs,
            self.evaluate,
            names=names,
            recalibrate=recalibrate,
            recoverable=recoverable,
            baseline=self.original_score,
            border=self.border,
            path=self.run.directory / "sensitivity.json",
            observer=self.observer,
        )
        self.run.log(f"the most robust first: {some(ranking.names, 5)}")
        return ranking

    def saved_ms(self, names: list[str]) -> dict[str, float]:
        """Milliseconds that each site saves when it alone is pooled."""
        saved = {}
        for done, name in enumerate(names):
            self.observer("time saved", done, len(names), name)
            measure = functools.partial(self.models.saved_ms, name)
            saved[name] = self.run.remember(f"time-saved/{name}.json", measure, alone=True)
        self.observer("time saved", len(names), len(names), "done")
        return saved

    def decided(self, names: list[str], rounds: Callable[[], Rounds]) -> Rounds:
        """Decides, once, which sites join in which round."""

        def decide() -> Rounds:
            decided = rounds()
            for index, added in enumerate(decided, 1):
                folder, sites = self.run.folder(index).name, count(len(added), "site")
                self.run.log(f"{folder} will pool {sites}: {some(added)}")
            left = [name for name in names if not any(name in added for added in decided)]
            if left:
                self.run.log(f"no round will pool {some(left)}")
            return decided

        kept = self.run.remember("rounds.json", decide)
        if not kept or not all(kept) or {site for added in kept for site in added} - {*names}:
            raise VirtualPoolError(
                f"{self.run.directory / 'rounds.json'}: not the rounds of this run: {kept!r:.100}; "
                "each adds some of its sites. Remove the file to decide them anew."
            )
        return kept

    def round(
        self, index: int, added: list[str], count: int, start: Callable[[], nn.Module] | None = None
    ) -> Point:
        """Pools more sites on top of the last round's model, fine-tunes, evaluates and times.

        Args:
            index: of the round.
            added: the sites that it pools in addition.
            count: how many rounds there are.
            start: gives the pooled model, where it is not the last round's with these sites.
        """
        name = self.run.folder(index).name
        self.observer("rounds", index - 1, count, name)
        point = self._point(index, added, start)
        self.observer("rounds", index, count, f"{name} done")
        if point.over_limit:
            self.run.log(f"{name} drops more than {self.max_drop:g}: it is the last round")
        return point

    @property
    def original_score(self) -> Score:
        """The score of the unmodified model."""
        return self.score(self.run.folder(0), self.model)

    def score(self, folder: Path, model: nn.Module) -> Score:
        """The score of the model that a folder of the run is about."""
        is_original = folder == self.run.folder(0)
        subject = "the unmodified model" if is_original else f"the model of {folder}"
        return self.run.remember(
            folder / "score.json", lambda: self.judge(model, subject).to_json()
        )

    def judge(self, model: nn.Module, subject: str) -> Score:
        """The score of any model, with the same random numbers every time."""
        with seeded(self.seed, "evaluate"):
            return judge(self.evaluate, model, subject)

    def frontier(
        self, points: list[Point], smaller: Sequence[Point], missing: dict[str, str]
    ) -> Frontier:
        """Keeps the frontier of the points; its file is the last that a search writes."""
        frontier = Frontier(tuple(points), self.run.directory, tuple(smaller), missing)
        if is_main():
            frontier.save(self.run.directory / "frontier.json")
        return frontier

    def _point(
        self,
        index: int,
        added: Sequence[str] = (),
        start: Callable[[], nn.Module] | None = None,
    ) -> Point:
        """A round's point, whose file is the last that the round writes."""

        def measure() -> Any:
            if index:
                if not self.models.exists(index):
                    self._tune(index, added, self._pooled(index, added) if not start else start())
                self.models.keep_faster_form(index)
            point = self._measured(index)
            self.run.log(str(point))
            return point.to_json()

        return self.run.remember(self.run.folder(index) / "point.json", measure)

    def _pooled(self, index: int, added: Sequence[str]) -> nn.Module:
        before = self.models.unfused(index - 1)
        return apply(before, self.example_inputs, added, border=self.border)

    def _tune(self, index: int, added: Sequence[str], pooled: nn.Module) -> None:
        current = Round(
            index=index,
            added=tuple(added),
            plan=plan_of(pooled),
            directory=self.run.folder(index),
            learning_rate=self.learning_rates[index - 1],
            epochs=self.epochs[index - 1],
            training_steps=self.training_steps[index - 1],
            evaluate=functools.partial(self.judge, subject=f"a model in round {index}"),
            observer=self.observer,
        )
        if is_main():
            write_document(current.directory / "plan.json", current.plan.to_json())
        self.recovering.recover(
            pooled,
            current,
            self.models.path(index),
            current.name,
            lambda path: load(self.model, path, unfused=True),
        )

    def _measured(self, index: int) -> Point:
        # Judge the model that the user will load.
        model, times = self.models.loaded(index), self.models.times(index)
        energies = self.models.energies(index)
        score = self.score(self.run.folder(index), model)
        drop = self.original_score - score
        weights = self.models.path(index).relative_to(self.run.directory).as_posix()
        return Point(
            name=self.run.folder(index).name if index else "original",
            accuracy=float(score),
            standard_error=score.standard_error,
            latency=times.kept,
            baseline=times.unmodified,
            speedup=times.kept.speedup_over(times.unmodified),
            macs=macs(model, self.example_inputs),
            plan=plan_of(model),
            weights=weights if index else None,
            metrics=score.metrics,
            drop=float(drop),
            drop_standard_error=drop.standard_error,
            over_limit=self.max_drop is not None and drop > self.max_drop,
            unfused=times.unfused,
            fused=times.fused,
            half_resolution=times.half_resolution,
            energy=energies.kept,
            energy_baseline=energies.unmodified,
            missing=times.missing | energies.reasons,
            unit=score.unit,
        )


def _one_if_alone(names: list[str | None]) -> Any:
    return names if len(names) > 1 else (names or [None])[0]


def _all_named(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _named(value) for name, value in options.items()}


def _named(value: Any) -> Any:
    """Dtypes and devices as texts, for JSON; a meter as its sensor's name."""
    if isinstance(value, Meter):
        return value.sensor.to_json()
    return str(value) if isinstance(value, torch.dtype | torch.device) else value
