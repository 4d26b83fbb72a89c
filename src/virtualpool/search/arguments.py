"""The arguments of a search: checked, and brought into one form, before a run is begun."""

import inspect
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar, cast, get_args

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.energy.measuring import EnergyOptions
from virtualpool.measure.latency import LatencyOptions
from virtualpool.recover.round import LIMITS, Finetune
from virtualpool.search.planning.target import Target
from virtualpool.search.resizing import check_resizable

Compare = Literal["smaller-images"]
Number = TypeVar("Number", int, float)
Options = TypeVar("Options", LatencyOptions, EnergyOptions)
_FORMER = {"rounds": "repeats", "seconds": "duration_s"}
"""Options of measuring as virtualpool 0.1 named them, and their names now."""


def check_target(
    target: Target | None,
    recoverable: Iterable[Any] | None,
    *,
    of_target: dict[str, Any],
    of_rounds: dict[str, Any],
) -> None:
    """Refuses a target with arguments that are for rounds, and the reverse.

    Args:
        target: of the search, or None.
        recoverable: images to reconstruct with.
        of_target: the arguments that a target alone has, by name; None is not given.
        of_rounds: the arguments that it has not.
    """
    given = [
        name for name, value in (of_rounds if target else of_target).items() if value is not None
    ]
    if target is None:
        if given:
            raise VirtualPoolError(
                f"{' and '.join(given)} given without a target. Give target=virtualpool.Target(), "
                "or leave out the arguments of a target."
            )
        return
    if given:
        raise VirtualPoolError(
            f"{' and '.join(given)} given beside a target, which chooses plans by itself. Leave "
            "that out, or leave out target for the paper's rounds."
        )
    if recoverable is None:
        raise VirtualPoolError(
            "A search for a target reconstructs each plan that it tries. Give recoverable=batches, "
            "a few hundred images without labels."
        )


def check_comparison(compare: str | None, model: nn.Module, example_inputs: Any) -> None:
    """Refuses a comparison that does not exist, or that the model cannot be put to."""
    if compare not in (None, *get_args(Compare)):
        known = ", ".join(get_args(Compare))
        raise VirtualPoolError(f"compare is {compare!r}; there is: {known}.")
    if compare:
        check_resizable(model, example_inputs)


def by_place(recoveries: Sequence[Finetune]) -> dict[str, Finetune]:
    """Recoveries by their names in a run's config; one alone has no number."""
    if len(recoveries) == 1:
        return {"finetune": recoveries[0]}
    return {f"finetune {place}": each for place, each in enumerate(recoveries, 1)}


def one_a_round(
    name: str, value: Number | Sequence[Number] | None, rounds: int
) -> list[Number | None]:
    """A number for each round, checked before the run is begun: it would be bound to them."""
    if value is None:
        return [None] * rounds
    each: list[Any] = list(value) if isinstance(value, list | tuple) else [value] * rounds
    if len(each) != rounds:
        raise VirtualPoolError(
            f"{name} has {len(each)} numbers for {rounds} rounds; give one or one for each."
        )
    for number in each:
        LIMITS[name.replace("rates", "rate")].check(name, number)
    return each


def options_of(measure: Callable[..., Any], name: str, options: Options) -> Options:
    """Options of measuring, by their names now; one that it does not have is refused."""
    known = list(inspect.signature(measure).parameters)[2:]
    given = {**options}
    for former in _FORMER.keys() & given.keys() - {*known}:
        now = _FORMER[former]
        if now in given:
            raise VirtualPoolError(
                f"{name} has {former} and {now}, two names of one option; give {now}."
            )
        _warn_of(name, former, now)
        given[now] = given.pop(former)
    unknown = [option for option in given if option not in known]
    if unknown:
        raise VirtualPoolError(
            f"{name} has no option {', '.join(unknown)}; it takes {', '.join(known)}."
        )
    return cast("Options", given)


def _warn_of(name: str, former: str, now: str) -> None:
    warnings.warn(
        f"{former} of {name} is named {now} since virtualpool 0.2; the former name goes in 0.3.",
        FutureWarning,
        stacklevel=5,  # who called search
    )
