"""One step of Algorithm 1, as the fine-tuning of it sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.score import Score
from virtualpool.observer import Observer, unobserved
from virtualpool.plan import Plan
from virtualpool.processes import is_main
from virtualpool.records import append_record, read_records, write_records
from virtualpool.recover import limits
from virtualpool.words import count


@dataclass(frozen=True, repr=False)
class Round:
    """The details for `finetune(model, round)` of the round that it fine-tunes.

    Attributes:
        index: 1 for the first round.
        added: the sites that this round pools in addition.
        plan: all the sites that the model has pooled.
        directory: the round's folder. A fine-tuning that can go on after a kill keeps its state in
            `checkpoint`, which is removed when the round is tuned.
        learning_rate: as asked of `search` for this round, or None.
        epochs: likewise.
        training_steps: likewise, the length of the fine-tuning in steps of the optimizer; it goes
            before `epochs`.
        recovery: the place of this fine-tuning in the round's list of them; 1 for the first.
        evaluate: gives a model's score in eval mode; training flags are as before afterwards.
        observer: may be told of progress, with `name` for the stage.

    Raises:
        VirtualPoolError: a number is none that a training can take, such as 0 epochs.
    """

    index: int
    added: tuple[str, ...]
    plan: Plan
    directory: Path
    learning_rate: float | None
    epochs: float | None
    evaluate: Callable[[nn.Module], Score]
    observer: Observer = unobserved
    training_steps: int | None = None
    recovery: int = 1

    @classmethod
    def of_training(
        cls, directory: Path, evaluate: Callable[[nn.Module], Score], observer: Observer
    ) -> "Round":
        """A round of nothing but training, of a model without virtual pools; makes its folder."""
        directory.mkdir(parents=True, exist_ok=True)
        return cls(
            index=0,
            added=(),
            plan=Plan(),
            directory=directory,
            learning_rate=None,
            epochs=None,
            evaluate=evaluate,
            observer=observer,
        )

    def __post_init__(self) -> None:
        for name, allowed in LIMITS.items():
            if (value := getattr(self, name)) is not None:
                allowed.check(name, value)

    def __repr__(self) -> str:
        pooled, added = count(len(self.plan.sites), "site"), len(self.added)
        return f"Round({self.name}: {pooled} pooled, {added} of them new)"

    @property
    def name(self) -> str:
        """The name of the round and its folder, such as "round-01"."""
        return self.directory.name

    @property
    def checkpoint(self) -> Path:
        """The file from which a fine-tuning goes on after a kill."""
        folder = self.directory / "checkpoint"
        return folder if self.recovery == 1 else folder / f"recovery-{self.recovery}"

    @property
    def journal(self) -> Path:
        """The file with the log of fine-tuning, a JSON object a line."""
        return self.directory / "training.jsonl"

    def log(self, **record: Any) -> None:
        """Appends a record, such as `step=10, loss=0.3`, to training.jsonl in the round's folder.

        A tensor with one value, and anything else that `float` takes, is written as a number.
        Records of a second recovery and later ones say its number.
        """
        if self.recovery > 1:
            record["recovery"] = self.recovery
        if is_main():
            append_record(self.journal, record, _number)

    def rewind(self, step: float) -> None:
        """Drops the records of later steps: a training that goes on from `step` logs them again."""
        self._keep(lambda it: _place(it) != self.recovery or _step(it, step) <= step)

    def begin(self) -> None:
        """Drops the records of an earlier start that has no checkpoint to go on from."""
        if not self.checkpoint.exists():
            self._keep(lambda it: _place(it) < self.recovery)

    def _keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        if is_main() and self.journal.exists():
            write_records(self.journal, [it for it in read_records(self.journal) if wanted(it)])


def _place(record: dict[str, Any]) -> float:
    return _number_in(record, "recovery", 1)


def _step(record: dict[str, Any], otherwise: float) -> float:
    return _number_in(record, "step", otherwise)


def _number_in(record: dict[str, Any], name: str, otherwise: float) -> float:
    value = record.get(name)
    return value if isinstance(value, int | float) else otherwise


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


LIMITS = {
    "learning_rate": limits.LEARNING_RATE,
    "epochs": limits.EPOCHS,
    "training_steps": limits.STEPS,
}
"""Which numbers a round may be given."""

Finetune = Callable[[nn.Module, Round], object]
"""A user's function to recover accuracy: it changes the model's weights in place."""


def as_recoveries(finetune: Finetune | Sequence[Finetune] | None) -> tuple[Finetune, ...]:
    """The argument `finetune`, one callable or a list of them, as a tuple.

    >>> as_recoveries(None), len(as_recoveries([print, print]))
    ((), 2)
    >>> as_recoveries(["labels"])
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: finetune[0] is 'labels', which cannot be called; give ...

    Raises:
        VirtualPoolError: the list is empty, or something in it is no callable.
    """
    if finetune is None:
        return ()
    if callable(finetune):
        return (finetune,)
    usual = "a finetune(model, round), such as virtualpool.by_distillation(original, batches)"
    if not isinstance(finetune, list | tuple):
        raise VirtualPoolError(f"finetune is {finetune!r:.80}; give {usual}, or a list of such.")
    if not finetune:
        raise VirtualPoolError(f"finetune is an empty list; give {usual} in it, or None.")
    for place, each in enumerate(finetune):
        if not callable(each):
            raise VirtualPoolError(
                f"finetune[{place}] is {each!r:.80}, which cannot be called; give {usual}."
            )
    return tuple(finetune)
