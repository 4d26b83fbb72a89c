"""How a recovery trains: its length, optimiser, schedule and precision."""

from dataclasses import dataclass, field
from typing import Literal, TypedDict, get_args

import torch
from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.recover import limits
from virtualpool.recover.learning_rate import RateSchedule, factor
from virtualpool.recover.precision import Precision

Optimizer = Literal["sgd", "adamw"]


class TrainingOptions(TypedDict, total=False):
    """The fields of `Training`, for functions that take them by keyword; see there."""

    epochs: float
    learning_rate: float
    optimizer: Optimizer
    momentum: float
    weight_decay: float
    rate_schedule: RateSchedule
    drops: tuple[float, ...]
    drop_steps: tuple[int, ...] | None
    warm_up: float
    ema: float | None
    clip: float | None
    mixed_precision: Precision
    seed: int
    log_steps: int
    checkpoint_seconds: float


@dataclass(frozen=True, kw_only=True)
class Training:
    """The settings of a training.

    Attributes:
        epochs: its length, 0.5 for half an epoch; a round's own number goes before.
        learning_rate: the first step's rate; a round's own rate goes before.
        optimizer: "sgd" (with momentum) or "adamw".
        momentum: SGD's momentum.
        weight_decay: the decay of weights; biases and normalisations have none.
        rate_schedule: "paper" multiplies the learning rate by 0.1 at each of `drops`; "cosine" has
            a warm-up and falls to zero.
        drops: where the paper's schedule steps down, as parts of the whole length.
        drop_steps: after how many steps it does so, in place of `drops`; a round that is shorter
            does not come to all of them.
        warm_up: the part of the whole length in which the cosine schedule rises.
        ema: the decay of an exponential moving average of the weights, such as 0.999, which the
            model then ends with; `None` for none. It averages over less in the first steps.
        clip: the largest gradient norm; longer gradients are shortened to it.
        mixed_precision: "no", "bf16" or "fp16" (GPUs only).
        seed: decides the order of the data, augmentation and dropout.
        log_steps: a record of the loss and learning rate after so many steps.
        checkpoint_seconds: a checkpoint at least so often, besides the one at each epoch's end.
    """

    epochs: float = 5.0
    learning_rate: float = 1e-3
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    rate_schedule: RateSchedule = "paper"
    drops: tuple[float, ...] = (1 / 3, 2 / 3)
    drop_steps: tuple[int, ...] | None = None
    warm_up: float = 0.05
    ema: float | None = None
    clip: float | None = None
    mixed_precision: Precision = "no"
    seed: int = 0
    # These two may change from start to start.
    log_steps: int = field(default=10, compare=False)
    checkpoint_seconds: float = field(default=120.0, compare=False)

    def __post_init__(self) -> None:
        for name, kind in (
            ("optimizer", Optimizer),
            ("rate_schedule", RateSchedule),
            ("mixed_precision", Precision),
        ):
            given, known = getattr(self, name), get_args(kind)
            if given not in known:
                raise VirtualPoolError(f"{name} is {given!r}; there are: {', '.join(known)}.")
        for name, allowed in _NUMBERS.items():
            given = getattr(self, name)
            for each in given if isinstance(given, tuple | list) else [given]:
                if each is not None or name not in _OPTIONAL:
                    allowed.check(name, each)
        if self.drop_steps is not None and self.rate_schedule != "paper":
            raise VirtualPoolError(
                f"drop_steps belong to the paper's schedule, and rate_schedule is "
                f"{self.rate_schedule}. Leave them out."
            )

    def make_optimizer(self, model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser of a model's trainable parameters."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not trained:
            raise VirtualPoolError(
                f"{type(model).__name__} has no parameter that requires a gradient; "
                "nothing can be fine-tuned."
            )
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        if self.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=learning_rate)
        return torch.optim.SGD(groups, lr=learning_rate, momentum=self.momentum)

    def factor(self, step: int, steps: int) -> float:
        """The factor on the learning rate after `step` of `steps` steps."""
        drops = self.drops
        if self.drop_steps is not None:
            drops = tuple(drop / steps for drop in self.drop_steps)
        progress = (step + 0.5) / steps
        return factor(self.rate_schedule, progress, drops=drops, warm_up=self.warm_up)


def distilling(settings: TrainingOptions) -> Training:
    """A training with distillation's defaults; `Training` has the paper's, for labels.

    They were found on networks that reconstruction had left nearly right: see
    docs/results/reconstruction_tried.md.

    >>> its = distilling({"clip": 5.0})
    >>> its.optimizer, its.learning_rate, its.clip
    ('adamw', 0.0003, 5.0)
    """
    usual: TrainingOptions = {
        "learning_rate": 3e-4,
        "optimizer": "adamw",
        "rate_schedule": "cosine",
        "clip": 1.0,
    }
    usual.update(settings)
    return Training(**usual)


_NUMBERS = {
    "epochs": limits.EPOCHS,
    "learning_rate": limits.LEARNING_RATE,
    "momentum": limits.PART_BELOW_ONE,
    "weight_decay": limits.WEIGHT,
    "drops": limits.PART,
    "drop_steps": limits.STEPS,
    "warm_up": limits.PART_BELOW_ONE,
    "ema": limits.DECAY,
    "clip": limits.ABOVE_ZERO,
    "log_steps": limits.STEPS,
    "checkpoint_seconds": limits.WEIGHT,
}
_OPTIONAL = ("drop_steps", "ema", "clip")
