"""The paper's Algorithm 1: pool the robust sites first, fine-tune, evaluate, time, and go on."""

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fingerprint import name_of
from virtualpool.measure.energy import energy as energy_of
from virtualpool.measure.energy.measuring import EnergyOptions
from virtualpool.measure.latency import LatencyOptions
from virtualpool.measure.latency import latency as latency_of
from virtualpool.measure.score import Evaluate
from virtualpool.observer import Observer, unobserved
from virtualpool.plan import Border, known_border, plan_of
from virtualpool.processes import agreed, join
from virtualpool.progress import shows_progress
from virtualpool.recover.limits import Limits
from virtualpool.recover.round import LIMITS, Finetune, Round, as_recoveries
from virtualpool.search.frontier import Frontier, Point
from virtualpool.search.resizing import check_resizable
from virtualpool.search.run import Run
from virtualpool.search.run.code import parts_of
from virtualpool.search.schedule import Schedule, as_schedule
from virtualpool.search.sensitivity import Recalibrate, Sensitivity, eligible
from virtualpool.search.smaller import smaller_images
from virtualpool.search.steps import Steps
from virtualpool.words import some

__all__ = ["Round", "search"]

Compare = Literal["smaller-images"]
OneARound = float | Sequence[float] | None
Number = TypeVar("Number", int, float)
Options = TypeVar("Options", LatencyOptions, EnergyOptions)
_DROP = Limits(-math.inf)
_FORMER = {"rounds": "repeats", "seconds": "duration_s"}
"""Options of measuring as virtualpool 0.1 named them, and their names now."""


@shows_progress
def search(
    model: nn.Module,
    example_inputs: Any,
    *,
    evaluate: Evaluate,
    finetune: Finetune | Sequence[Finetune] | None = None,
    rounds: int | Sequence[Sequence[str]] | Schedule = 3,
    run_dir: Path | str,
    names: Sequence[str] | None = None,
    sensitivity: Sensitivity | None = None,
    recalibrate: Recalibrate | None = None,
    recoverable: Iterable[Any] | None = None,
    learning_rates: OneARound = None,
    epochs: OneARound = None,
    training_steps: int | Sequence[int] | None = None,
    max_drop: float | None = None,
    latency: LatencyOptions | None = None,
    energy: EnergyOptions | None = None,
    compare: Compare | None = None,
    border: Border = "exact",
    settings: Mapping[str, object] | None = None,
    seed: int = 0,
    observer: Observer | None = None,
) -> Frontier:
    """Makes a set of faster models out of a trained one (the paper's Algorithm 1, section 3.2).

    The sites are ranked by their sensitivity and shared out among rounds. Each round pools more
    sites, goes on from the last round's weights, fine-tunes, fuses, times the model in both forms
    interleaved with the unmodified one, and evaluates the faster form. All that is found is kept in
    `run_dir`: a search that was stopped at any moment goes on when it is called again with the same
    arguments, and ends with the same models. The code of `evaluate`, `finetune`
    and `recalibrate` is among the arguments, with its defaults and the numbers and texts that it
    closes over; the log names the parts that it cannot compare, such as data. Every stage begins
    with random numbers of its own, drawn from `seed`.

    Args:
        model: the trained network; it is not changed.
        example_inputs: inputs that it runs on; it is timed with them.
        evaluate: gives a model's score, higher is better; a float, or a `Score` that knows more.
        finetune: is called with each round's model, in training mode, and the `Round`; it changes
            the model's weights in place. Of a list each is called in turn, and its result is kept
            before the next begins. Without it the models stay as they are pooled.
        rounds: how many rounds, or the sites of each, or a schedule (see `Schedule`). Sites that
            no round takes stay unpooled.
        run_dir: the directory of the run.
        names: the sites to consider; all eligible ones if not given.
        sensitivity: the ranking, if it is known; otherwise it is found, unless `rounds` is a list.
        recalibrate: see `virtualpool.sensitivity`.
        recoverable: batches of images, without labels, for the sites to be ranked by their
            recoverable drop (see `virtualpool.sensitivity`).
        learning_rates: handed to `finetune` by the round: one number, or one for each round.
        epochs: likewise.
        training_steps: likewise, in place of `epochs`: the length in steps of the optimizer.
        max_drop: a round that loses more, in the score's own unit, is kept, marked, and the last.
        latency: keyword arguments of `virtualpool.measure.latency`, such as mode and threads.
        energy: keyword arguments of `virtualpool.measure.energy` for it to be measured, too; the
            options in `latency`, such as threads, hold for both. Without a sensor the search goes
            on and says so.
        compare: "smaller-images" asks how the unmodified model does on images of 3/4, 5/8 and 1/2
            of the side: pooling has to beat it. It is fine-tuned by `finetune` in the
            same way and for as long: once for each round that was made, with that round's epochs
            and learning rate. Training and evaluation see whole images, which the model resizes
            (see image scales in `virtualpool.apply`); timing uses small images without resizing,
            interleaved with the unmodified model. The result is in `Frontier.smaller` and
            `Frontier.lead`; `Frontier.missing` says why a size is left out.
        border: what convolutions read beside recovered maps; see `virtualpool.apply`.
        settings: more that a second start must be given alike; JSON-able.
        seed: of all random numbers.
        observer: is told of progress; see `Observer`. If not given, a terminal shows it as bars.

    Returns:
        The frontier: the original, and a model of each round; beside it those on smaller images.

    Raises:
        VirtualPoolError: the arguments do not fit the model or each other, the directory holds
            a run with others, another process runs it, or a score is not finite. With `compare`:
            the model is a detector, or its inputs hold no batch of images.
    """
    join(on_cpu=not any(weight.is_cuda for weight in model.parameters()))
    _check_comparison(compare, model, example_inputs)
    known_border(border)
    if epochs is not None and training_steps is not None:
        raise VirtualPoolError("A round has a length in epochs or in training_steps, not in both.")
    recoveries = as_recoveries(finetune)
    schedule = as_schedule(rounds)
    if recoverable is not None and (sensitivity or not schedule.needs_sensitivity):
        raise VirtualPoolError(
            "recoverable is for a ranking by the search itself. Leave it out where the ranking or "
            "the rounds are given."
        )
    candidates = _candidates(model, example_inputs, names, schedule, sensitivity)
    count = schedule.most_rounds(len(candidates))
    if max_drop is not None:
        _DROP.check("max_drop", max_drop)
    steps = Steps(
        run=Run(run_dir),
        model=model,
        example_inputs=example_inputs,
        evaluate=evaluate,
        recoveries=recoveries,
        learning_rates=_one_a_round("learning_rates", learning_rates, count),
        epochs=_one_a_round("epochs", epochs, count),
        training_steps=_one_a_round("training_steps", training_steps, count),
        max_drop=max_drop,
        latency=_options_of(latency_of, "latency", latency or LatencyOptions()),
        energy=None if energy is None else _options_of(energy_of, "energy", energy),
        seed=seed,
        observer=observer or unobserved,
        border=border,
    )
    callables = {"evaluate": evaluate, **_by_place(recoveries), "recalibrate": recalibrate}
    # The main process decides: others may have closed over their own rank or device.
    parts = agreed({name: parts_of(each) for name, each in callables.items()})
    config = steps.config() | {
        "sites": candidates,
        "sensitivity": sensitivity and sensitivity.names,
        "schedule": schedule.to_json(),
        "recalibrate": name_of(recalibrate),
        "recoverable": None if recoverable is None else True,
        "compare": compare,
        **{f"{name}'s": each.compared for name, each in parts.items() if each.compared},
        "settings": dict(settings or {}),
    }
    with steps.run.started(config):
        if left := [f"{name}'s {each}" for name, found in parts.items() for each in found.left]:
            steps.run.log(f"may differ at the next start, unnoticed: {some(left)}")
        points = [steps.original()]
        ranking = saved_ms = None
        if sensitivity is not None:
            ranking = steps.given(sensitivity.limited_to(candidates))
        elif schedule.needs_sensitivity:
            ranking = steps.sensitivity(candidates, recalibrate, recoverable)
        if schedule.needs_time:
            saved_ms = steps.saved_ms(candidates)
        decided = steps.decided(candidates, lambda: schedule.rounds(ranking, saved_ms))
        points += _rounds(steps, decided)
        smaller, missing = smaller_images(steps, len(points) - 1) if compare else ([], {})
        return steps.frontier(points, smaller, missing)


def _by_place(recoveries: Sequence[Finetune]) -> dict[str, Finetune]:
    """Recoveries by their names in a run's config; one alone has no number."""
    if len(recoveries) == 1:
        return {"finetune": recoveries[0]}
    return {f"finetune {place}": each for place, each in enumerate(recoveries, 1)}


def _rounds(steps: Steps, decided: list[list[str]]) -> Iterator[Point]:
    """The models of the rounds, up to the first that loses too much."""
    for index, added in enumerate(decided, 1):
        point = steps.round(index, added, len(decided))
        yield point
        if point.over_limit:
            return


def _check_comparison(compare: str | None, model: nn.Module, example_inputs: Any) -> None:
    if compare not in (None, *get_args(Compare)):
        known = ", ".join(get_args(Compare))
        raise VirtualPoolError(f"compare is {compare!r}; there is: {known}.")
    if compare:
        check_resizable(model, example_inputs)


def _candidates(
    model: nn.Module,
    example_inputs: Any,
    names: Sequence[str] | None,
    schedule: Schedule,
    sensitivity: Sensitivity | None,
) -> list[str]:
    """The sites to share out, in the order of execution."""
    if not (plan := plan_of(model)).is_empty:
        raise VirtualPoolError(
            f"The model has {plan.in_words} already; search begins with the unmodified model."
        )
    if names is None:
        names = schedule.names or (sensitivity and sensitivity.names)
    found = [site.name for site in eligible(model, example_inputs, names)]
    outside = [name for name in schedule.names or () if name not in found]
    if outside:
        raise VirtualPoolError(
            f"rounds has {some(outside)}, and names does not. Add them to names."
        )
    return found


def _one_a_round(
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


def _options_of(measure: Callable[..., Any], name: str, options: Options) -> Options:
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
