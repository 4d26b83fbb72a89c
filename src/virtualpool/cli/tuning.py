"""The options of `tune`: in which rounds sites join, and how each round is recovered."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from virtualpool.cli import options

if TYPE_CHECKING:
    from virtualpool.cli.task import Task
    from virtualpool.recover.round import Finetune
    from virtualpool.recover.settings import TrainingOptions
    from virtualpool.search import Schedule

_ROUNDS = "Rounds"
_RECOVERY = "Recovery"


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Which sites join in which round, and when to stop."""

    rounds: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=_ROUNDS, help="Rounds of equal size (default: 3)."),
    ] = None
    sizes: Annotated[
        str | None,
        typer.Option(metavar="3,3,3", rich_help_panel=_ROUNDS, help="Sites that each round adds."),
    ] = None
    thresholds: Annotated[
        str | None,
        typer.Option(
            metavar=".01,.05", rich_help_panel=_ROUNDS, help="Drop up to which a round takes sites."
        ),
    ] = None
    per_layer: Annotated[
        bool, typer.Option("--per-layer", rich_help_panel=_ROUNDS, help="One site a round.")
    ] = False
    by_time: Annotated[
        bool,
        typer.Option(
            "--by-time",
            rich_help_panel=_ROUNDS,
            help="First the sites that save most time for the score that they cost.",
        ),
    ] = False
    rounds_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:KEY]", rich_help_panel=_ROUNDS, help="JSON: the sites of each round."
        ),
    ] = None
    max_drop: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_ROUNDS,
            help="Stop after a round that loses more; 0.01 is one point of an accuracy.",
        ),
    ] = None

    def schedule(self) -> "Schedule":
        """The schedule that the options ask for.

        Raises:
            typer.BadParameter: they ask for two things at once.
            VirtualPoolError: the file is missing, or holds no rounds.
        """
        from virtualpool.cli.rounds import schedule

        return schedule(
            rounds=self.rounds,
            sizes=self.sizes,
            thresholds=self.thresholds,
            per_layer=self.per_layer,
            by_time=self.by_time,
            rounds_file=self.rounds_file,
        )


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How a round's model wins back what pooling has cost."""

    recover: Annotated[
        Literal["labels", "distillation", "both", "recalibration", "none"],
        typer.Option(
            rich_help_panel=_RECOVERY,
            help="Fine-tune by labels, by the original's outputs, or both; or only measure batch "
            "norm anew.",
        ),
    ] = "labels"
    site_weight: Annotated[
        float,
        typer.Option(
            min=0,
            rich_help_panel=_RECOVERY,
            help="Weight of the pooled sites' maps in distillation; 0 leaves them out.",
        ),
    ] = 40.0
    epochs: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_RECOVERY,
            help="Of each round; one number or one a round (default: 5).",
        ),
    ] = None
    steps: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_RECOVERY,
            help="Steps of the optimizer in each round, in place of --epochs; one number or one "
            "a round.",
        ),
    ] = None
    learning_rate: Annotated[
        str,
        typer.Option(rich_help_panel=_RECOVERY, help="At first; one number or one a round."),
    ] = "0.001"
    optimizer: Annotated[
        Literal["sgd", "adamw"], typer.Option(rich_help_panel=_RECOVERY, help="What trains.")
    ] = "sgd"
    rate_schedule: Annotated[
        Literal["paper", "cosine"],
        typer.Option(
            rich_help_panel=_RECOVERY, help="Learning rate in steps down by ten, or a half wave."
        ),
    ] = "paper"
    drop_steps: Annotated[
        str | None,
        typer.Option(
            metavar="30000,45000",
            rich_help_panel=_RECOVERY,
            help="After which steps of a round the paper's schedule steps down (default: after "
            "each third).",
        ),
    ] = None
    ema: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_RECOVERY, help="Average the weights with this decay, such as 0.999."
        ),
    ] = None
    clip: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_RECOVERY, help="Shorten longer gradients to this norm, such as 1."
        ),
    ] = None
    mixed_precision: Annotated[
        Literal["no", "bf16", "fp16"],
        typer.Option(rich_help_panel=_RECOVERY, help="Of fine-tuning and evaluation."),
    ] = "no"
    augment: options.Augment = None

    def training(self) -> "TrainingOptions":
        """Those of the options that are fields of `virtualpool.recover.Training`."""
        from virtualpool.cli.rounds import whole_numbers

        drops = self.drop_steps and tuple(whole_numbers(self.drop_steps, "--drop-steps"))
        return {
            "optimizer": self.optimizer,
            "rate_schedule": self.rate_schedule,
            "drop_steps": drops or None,
            "ema": self.ema,
            "clip": self.clip,
            "mixed_precision": self.mixed_precision,
        }

    def finetune(self, task: "Task", seed: int) -> "Finetune | None":
        """What fine-tunes each round's model; None where nothing is asked for."""
        from virtualpool.cli import recovery

        if self.recover == "none":
            return None
        training: TrainingOptions = {**self.training(), "seed": seed}
        return recovery.finetune(
            self.recover,
            task.kind,
            task.module,
            task.training_batches,
            sites=self.site_weight,
            **training,
        )

    def lengths(self) -> dict[str, Any]:
        """The arguments of `search` for the learning rate and the length of each round."""
        from virtualpool.cli.rounds import length, one_or_each

        rates = one_or_each(self.learning_rate, "--learning-rate")
        return {"learning_rates": rates} | length(self.epochs, self.steps)

    def settings(self) -> dict[str, Any]:
        """What a run must be given alike when it goes on, besides what `search` is told."""
        return {
            "recovery": self.recover,
            "site weight": self.site_weight,
            "training": self.training(),
        }
