"""The options of `tune`: in which rounds sites join, and how each network is recovered."""

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
        typer.Option(min=1, rich_help_panel=_ROUNDS, help="Rounds of equal size, as in the paper."),
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
            help="Begin with the sites that save most time for their loss of score.",
        ),
    ] = False
    rounds_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:KEY]", rich_help_panel=_ROUNDS, help="JSON: the sites of each round."
        ),
    ] = None
    recoverable: options.Recoverable = False
    border: options.Border = "padded"
    max_drop: Annotated[
        float | None,
        typer.Option(
            rich_help_panel="Target",
            help="Most that a network may lose; 0.01 is one point.",
        ),
    ] = None

    @property
    def given(self) -> list[str]:
        """The options that were given and that a target has not."""
        shared = ("border", "max_drop")
        options = {name: value for name, value in vars(self).items() if name not in shared}
        return [f"--{name.replace('_', '-')}" for name, value in options.items() if value]

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
    """How a round's model wins back the loss from pooling."""

    recover: Annotated[
        str,
        typer.Option(
            metavar="WAY,WAY",
            rich_help_panel=_RECOVERY,
            help="reconstruction, distillation, labels, distillation+labels, recalibration: some, "
            "in this order; or none.",
        ),
    ] = "reconstruction,distillation"
    reconstruction_images: Annotated[
        int | None,
        typer.Option(
            min=2,
            rich_help_panel=_RECOVERY,
            help="Training images that reconstruction reads, without their labels (default: 1000, "
            "of detection 100, of segmentation 200).",
        ),
    ] = None
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
            metavar="N,N",
            help="Epochs: one number, or one a round (default: 5).",
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
        str | None,
        typer.Option(
            rich_help_panel=_RECOVERY,
            help="Learning rate at first; one number or one a round (default: 0.0003 for "
            "distillation, 0.001 for labels).",
        ),
    ] = None
    optimizer: Annotated[
        Literal["sgd", "adamw"] | None,
        typer.Option(
            rich_help_panel=_RECOVERY,
            help="Which optimizer trains (default: adamw for distillation, sgd for labels).",
        ),
    ] = None
    rate_schedule: Annotated[
        Literal["paper", "cosine"] | None,
        typer.Option(
            rich_help_panel=_RECOVERY,
            help="Learning rate in steps down by ten, or a half wave (default: cosine for "
            "distillation, paper for labels).",
        ),
    ] = None
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
            rich_help_panel=_RECOVERY,
            help="Shorten longer gradients to this norm (default: 1 for distillation).",
        ),
    ] = None
    mixed_precision: Annotated[
        Literal["no", "bf16", "fp16"],
        typer.Option(
            rich_help_panel=_RECOVERY, help="Mixed precision of fine-tuning and evaluation."
        ),
    ] = "no"
    augment: options.Augment = None

    def training(self) -> "TrainingOptions":
        """The options that are given and are fields of `virtualpool.recover.Training`."""
        from virtualpool.cli.rounds import whole_numbers

        drops = self.drop_steps and tuple(whole_numbers(self.drop_steps, "--drop-steps"))
        given: dict[str, Any] = {
            "optimizer": self.optimizer,
            "rate_schedule": self.rate_schedule,
            "drop_steps": drops or None,
            "ema": self.ema,
            "clip": self.clip,
            "mixed_precision": self.mixed_precision,
        }
        options: Any = {name: value for name, value in given.items() if value is not None}
        return options

    def check(self) -> None:
        """Refuses recoveries that do not exist, and options of a training that is not asked for.

        Raises:
            typer.BadParameter: by name.
        """
        given = {
            "--epochs": self.epochs,
            "--steps": self.steps,
            "--learning-rate": self.learning_rate,
            "--drop-steps": self.drop_steps,
            "--ema": self.ema,
            "--clip": self.clip,
        }
        named = [option for option, value in given.items() if value is not None]
        if self._trains_nothing and named:
            it = "it" if len(named) == 1 else "them"
            raise typer.BadParameter(
                f"{' and '.join(named)}: --recover {self.recover} trains nothing. Leave {it} out, "
                "or add a way that trains, such as distillation."
            )

    def finetune(
        self, task: "Task", seed: int, *, reconstructed: bool = False
    ) -> "list[Finetune] | None":
        """The recoveries of each model, in order; None where none is asked for.

        Args:
            task: the network as it was, and its data.
            seed: of the trainings.
            reconstructed: whether the models are reconstructed anyway.
        """
        from virtualpool.cli import recovery

        training: TrainingOptions = {**self.training(), "seed": seed}
        images, sites = self.reconstruction_images, self.site_weight
        return [
            recovery.finetune(way, task, images=images, sites=sites, **training)
            for way in recovery.ways(self.recover)
            if not (reconstructed and way == recovery.RECONSTRUCTION)
        ] or None

    def lengths(self) -> dict[str, Any]:
        """The arguments of `search` for the learning rate and the length of each round."""
        from virtualpool.cli.rounds import length, one_or_each

        if self._trains_nothing:
            return {}
        rates = self.learning_rate and one_or_each(self.learning_rate, "--learning-rate")
        return {"learning_rates": rates} | length(self.epochs, self.steps)

    @property
    def _trains_nothing(self) -> bool:
        """Whether none of the recoveries has epochs and a learning rate."""
        from virtualpool.cli import recovery

        return not {*recovery.ways(self.recover)} & {*recovery.TRAINING}

    def settings(self) -> dict[str, Any]:
        """Options that must be the same when a run goes on, besides the arguments of `search`."""
        return {
            "recovery": self.recover,
            "reconstruction images": self.reconstruction_images,
            "site weight": self.site_weight,
            "training": self.training(),
        }
