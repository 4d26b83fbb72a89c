"""The training of a variant, which goes on where it was stopped."""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.accuracy.ablation.recovery import recovery
from benchmarks.accuracy.ablation.setup import Setup
from benchmarks.accuracy.ablation.variant import Variant
from virtualpool.errors import VirtualPoolError
from virtualpool.measure import macs
from virtualpool.measure.score import judge
from virtualpool.plan import plan_of
from virtualpool.search import Round, Score


@dataclass(frozen=True)
class Stage:
    """A variant after one of its rounds.

    Attributes:
        score: on the test images.
        macs: multiply-accumulates per image.
    """

    score: Score
    macs: int


@dataclass(frozen=True)
class Training:
    """The result of one training of a variant.

    Attributes:
        stages: one a round, but for failed ones.
        failure: why a round failed, such as a loss that is not finite.
    """

    stages: list[Stage]
    failure: str | None = None

    def __str__(self) -> str:
        scores = " then ".join(str(stage.score) for stage in self.stages)
        return f"{scores} failed: {self.failure}" if self.failure else scores

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        stages = [{"score": it.score.to_json(), "macs": it.macs} for it in self.stages]
        return {"stages": stages, "failure": self.failure}

    @classmethod
    def from_json(cls, value: Any) -> "Training":
        """The training of a JSON value."""
        stages = [Stage(Score.from_json(it["score"]), it["macs"]) for it in value["stages"]]
        return cls(stages, value["failure"])


def training(variant: Variant, seed: int, setup: Setup) -> Training:
    """A training of a variant, from its file; made first if there is none."""
    folder = setup.directory / "trainings" / variant.folder / f"seed-{seed}"
    value = setup.run.remember(
        folder / "result.json", lambda: _trained(variant, seed, setup, folder).to_json()
    )
    # Until there is a result, a second start takes the rounds that are finished from these.
    for checkpoint in folder.glob("round-*/checkpoint"):
        shutil.rmtree(checkpoint)
    return Training.from_json(value)


def _trained(variant: Variant, seed: int, setup: Setup, folder: Path) -> Training:
    changes = variant.changes(seed)
    finetune = recovery(variant.recovery, setup, seed)
    model, stages = setup.network, []
    for index, change in enumerate(changes, 1):
        model = change(model.cpu()).to(setup.device)
        subject = f"{variant.name}, round {index}"
        current = Round(
            index=index,
            added=(),
            plan=plan_of(model),
            directory=folder / f"round-{index:02d}",
            learning_rate=None,
            epochs=setup.epochs / len(changes),
            evaluate=partial(judge, setup.watch, subject=subject),
        )
        try:
            finetune(model.train(), current)
            score = judge(setup.evaluate, model, subject)
        except VirtualPoolError as error:  # one that diverges must not end a night's run
            setup.run.log(f"{subject}, seed {seed}, failed: {error}")
            return Training(stages, str(error))
        stages.append(Stage(score.summary, macs(model, setup.image.to(setup.device))))
        setup.run.log(f"{subject}, seed {seed}: {score}")
    return Training(stages)
