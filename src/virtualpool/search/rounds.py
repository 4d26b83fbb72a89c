"""`search`: models for a target, or by the paper's Algorithm 1, whose rounds are made here."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fingerprint import name_of
from virtualpool.measure.energy import energy as energy_of
from virtualpool.measure.energy.measuring import EnergyOptions
from virtualpool.measure.latency import LatencyOptions
from virtualpool.measure.latency import latency as latency_of
from virtualpool.measure.score import Evaluate
from virtualpool.observer import Observer, unobserved
from virtualpool.plan import Border, check_module, known_border, plan_of
from virtualpool.processes import agreed, join
from virtualpool.progress import shows_progress
from virtualpool.recover import by_reconstruction
from virtualpool.recover.batches import check_repeatable
from virtualpool.recover.limits import Limits
from virtualpool.recover.round import Finetune, Round, as_recoveries
from virtualpool.search.arguments import (
    Compare,
    by_place,
    check_comparison,
    check_target,
    one_a_round,
    options_of,
)
from virtualpool.search.frontier import Frontier, Point
from virtualpool.search.planning import keeping
from virtualpool.search.planning.budget import Budget
from virtualpool.search.planning.candidates import known_scales
from virtualpool.search.planning.planning import planned
from virtualpool.search.planning.target import Target
from virtualpool.search.run import Run
from virtualpool.search.run.code import parts_of
from virtualpool.search.schedule import Schedule, as_schedule
from virtualpool.search.sensitivity import Recalibrate, Sensitivity, eligible
from virtualpool.search.smaller import smaller_images
from virtualpool.search.steps import Steps
from virtualpool.sites import Site
from virtualpool.words import some

__all__ = ["Round", "search"]

OneARound = float | Sequence[float] | None
_DROP = Limits(-math.inf)
_USUAL_ROUNDS = 3


@shows_progress
def search(
    model: nn.Module,
    example_inputs: Any,
    *,
    evaluate: Evaluate,
    finetune: Finetune | Sequence[Finetune] | None = None,
    target: Target | None = None,
    image_scales: Sequence[float] | None = None,
    budget: float | None = None,
    rounds: int | Sequence[Sequence[str]] | Schedule | None = None,
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
    """Makes a set of faster models out of a trained one.

    With a `target` it chooses plans of sites and image scales by itself: each that is tried is
    reconstructed, evaluated, and timed fused. Those that no other one beats, thinned to the number
    that is asked for, are recovered and become the models. Else it is the paper's Algorithm 1
    (section 3.2): the sites are ranked by their sensitivity and shared out among rounds. Each round
    pools more sites, goes on from the last round's weights and fine-tunes.

    A model is fused, timed in both forms interleaved with the unmodified one, and the faster form
    evaluated. All that is found is kept in `run_dir`: a search that was stopped at any moment goes
    on when it is called again with the same arguments, and ends with the same models. The code of
    `evaluate`, `finetune` and `recalibrate` is among the arguments, with its defaults and the
    numbers and texts that it closes over; the log names the parts that it cannot compare, such as
    data. Every stage begins with random numbers of its own, drawn from `seed`.

    Args:
        model: the trained network; it is not changed.
        example_inputs: inputs that it runs on; it is timed with them.
        evaluate: gives a model's score, higher is better; a float, or a `Score` that knows more.
            Without labels: `answer_agreement(model, batches)`.
        finetune: is called with each round's model, in training mode, and the `Round`; it changes
            the model's weights in place. Of a list each is called in turn, and its result is kept
            before the next begins. Without it the models stay as they are pooled, or for a target
            as they are reconstructed.
        target: how many models, and their least speed, largest drop or latency. It needs
            `recoverable`, and no rounds.
        image_scales: for a target, those to try beside 1; 7/8, 3/4, 5/8 and 1/2 if not given. A
            scale that the model does not take is left out, and the log says why.
        budget: for a target, seconds of this start. Half of them are for trying plans, the others
            for recovering the best ones.
        rounds: how many rounds (3 if not given), or the sites of each, or a schedule (see
            `Schedule`). Sites that no round takes stay unpooled.
        run_dir: the directory of the run.
        names: the sites to consider; all eligible ones if not given.
        sensitivity: the ranking, if it is known; otherwise it is found, unless `rounds` is a list.
        recalibrate: see `virtualpool.sensitivity`.
        recoverable: batches of images, without labels, for the sites to be ranked by their
            recoverable drop (see `virtualpool.sensitivity`). For a target, plans and models are
            reconstructed with them.
        learning_rates: handed to `finetune` by the round: one number, or one for each round.
        epochs: likewise.
        training_steps: likewise, in place of `epochs`: the length in steps of the optimizer.
        max_drop: ends the search after a round that loses more, in the score's own unit; the round
            is kept and marked.
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
        settings: JSON-able settings of your own; a second start must have the same ones.
        seed: decides all random numbers.
        observer: is told of progress; see `Observer`. If not given, a terminal shows it as bars.

    Returns:
        The original and the model of each round; for a target, of each kept plan by rising speed.
        The models on smaller images are beside it, in `smaller`.

    Raises:
        VirtualPoolError: the arguments do not fit the model or each other, the directory holds
            a run with others, another process runs it, or a score is not finite. With `compare`:
            the model is a detector, or its inputs hold no batch of images. With `target`: no plan
            is within its bound (the nearest is named).
    """
    check_target(
        target,
        recoverable,
        of_target={"image_scales": image_scales, "budget": budget},
        of_rounds={
            "rounds": rounds,
            "sensitivity": sensitivity,
            "recalibrate": recalibrate,
            "max_drop": max_drop,
            "compare": compare,
        },
    )
    check_module(model)
    join(on_cpu=not any(weight.is_cuda for weight in model.parameters()))
    check_comparison(compare, model, example_inputs)
    known_border(border)
    if epochs is not None and training_steps is not None:
        raise VirtualPoolError("A round has a length in epochs or in training_steps, not in both.")
    recoveries, left_seconds = as_recoveries(finetune), Budget(budget)
    scales = known_scales(image_scales)
    schedule = as_schedule(_USUAL_ROUNDS if rounds is None else rounds)
    if target is not None and recoverable is not None:
        check_repeatable(recoverable)
        recoveries = (by_reconstruction(model, recoverable), *recoveries)
    elif recoverable is not None and (sensitivity or not schedule.needs_sensitivity):
        raise VirtualPoolError(
            "recoverable is for a ranking by the search itself. Leave it out where the ranking or "
            "the rounds are given."
        )
    found = _candidates(model, example_inputs, names, schedule, sensitivity)
    candidates = [site.name for site in found]
    count = target.points if target else schedule.most_rounds(len(candidates))
    if max_drop is not None:
        _DROP.check("max_drop", max_drop)
    steps = Steps(
        run=Run(run_dir),
        model=model,
        example_inputs=example_inputs,
        evaluate=evaluate,
        recoveries=recoveries,
        learning_rates=one_a_round("learning_rates", learning_rates, count),
        epochs=one_a_round("epochs", epochs, count),
        training_steps=one_a_round("training_steps", training_steps, count),
        max_drop=max_drop,
        latency=options_of(latency_of, "latency", latency or LatencyOptions()),
        energy=None if energy is None else options_of(energy_of, "energy", energy),
        seed=seed,
        observer=observer or unobserved,
        border=border,
    )
    callables = {"evaluate": evaluate, **by_place(recoveries), "recalibrate": recalibrate}
    # The main process decides: others may have closed over their own rank or device.
    parts = agreed({name: parts_of(each) for name, each in callables.items()})
    lengths = {"learning_rates": learning_rates, "epochs": epochs, "training_steps": training_steps}
    # How many models a target has may change until its plans are decided.
    config = (
        steps.config()
        | (lengths if target else {})
        | {
            "sites": candidates,
            "sensitivity": sensitivity and sensitivity.names,
            "schedule": {"kind": "target", "scales": scales} if target else schedule.to_json(),
            "recalibrate": name_of(recalibrate),
            "recoverable": None if recoverable is None else True,
            "compare": compare,
            **{f"{name}'s": each.compared for name, each in parts.items() if each.compared},
            "settings": dict(settings or {}),
        }
    )
    with steps.run.started(config):
        if left := [f"{name}'s {each}" for name, found in parts.items() for each in found.left]:
            steps.run.log(f"may differ at the next start, unnoticed: {some(left)}", logging.DEBUG)
        points = [steps.original()]
        if target is not None and recoverable is not None:
            plans = planned(steps, found, recoverable, target, scales, left_seconds)
            drafts = [trial.draft for trial in plans.kept]
            points += keeping.points(steps, drafts, left_seconds)
            return steps.frontier(points, [], {})
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


def _rounds(steps: Steps, decided: list[list[str]]) -> Iterator[Point]:
    """The models of the rounds, up to the first that loses too much."""
    for index, added in enumerate(decided, 1):
        point = steps.round(index, added, len(decided))
        yield point
        if point.over_limit:
            return


def _candidates(
    model: nn.Module,
    example_inputs: Any,
    names: Sequence[str] | None,
    schedule: Schedule,
    sensitivity: Sensitivity | None,
) -> list[Site]:
    """The sites to share out, in the order of execution."""
    if not (plan := plan_of(model)).is_empty:
        raise VirtualPoolError(
            f"The model has {plan.in_words} already; search begins with the unmodified model."
        )
    if names is None:
        names = schedule.names or (sensitivity and sensitivity.names)
    found = eligible(model, example_inputs, names)
    known = {site.name for site in found}
    outside = [name for name in schedule.names or () if name not in known]
    if outside:
        raise VirtualPoolError(
            f"rounds has {some(outside)}, and names does not. Add them to names."
        )
    return found
