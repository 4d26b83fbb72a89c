"""Energy: the joules that a model takes for an image, next to others on the same machine."""

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.energy.finding import meter_of
from virtualpool.measure.energy.result import Energy, Idle
from virtualpool.measure.energy.sensor import Meter, Sensor
from virtualpool.measure.prepared import Conditions, Mode, Timed, check, prepared
from virtualpool.measure.setting import Setting
from virtualpool.measure.timing import Block, alternated, clock

if TYPE_CHECKING:
    from typing_extensions import Unpack

# A block of work is so many readings of the sensor: it is blind at both ends for up to one.
_READINGS = 20
_LEAST_SECONDS = 1.0


class EnergyOptions(Conditions, total=False):
    """The keyword options of `energy`; see there."""

    meter: Meter | None
    idle: Idle
    repeats: int
    duration_s: float | None


@overload
def energy(
    models: nn.Module, example_inputs: Any, **options: "Unpack[EnergyOptions]"
) -> Energy: ...
@overload
def energy(
    models: "Mapping[str, Timed]", example_inputs: Any, **options: "Unpack[EnergyOptions]"
) -> dict[str, Energy]: ...
def energy(
    models: "nn.Module | Mapping[str, Timed]",
    example_inputs: Any,
    *,
    meter: Meter | None = None,
    idle: Idle = "include",
    mode: Mode = "eager",
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    batch: int | None = None,
    threads: int | None = None,
    channels_last: bool = True,
    repeats: int = 5,
    duration_s: float | None = None,
) -> Energy | dict[str, Energy]:
    """Measures the energy of a forward pass, for one model or for several side by side.

    Every repeat runs each model once, in a new order, for a block of calls that is long enough for
    the sensor. A sensor sees more than the model: a processor's or a board's has all other
    programs in it, a wall meter the power supply too. Where there is no sensor there is no number.

    Args:
        models: one model, or models by name; in place of a model that is called with inputs of its
            own, the model and these.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments.
        meter: a meter of `virtualpool.measure.meter`, or your own; None is the device's sensor.
        idle: `subtract` measures the power before, when nothing is done, for as long as a block,
            and takes it off; `include` leaves it in.
        mode: this and the next five are as of `virtualpool.measure.latency`.
        device: where to run; None is where the first model's parameters are.
        dtype: the dtype of parameters and inputs; None is as given.
        batch: images per call; None is as given.
        threads: torch's threads; None is as it is set.
        channels_last: memory layout of weights and maps.
        repeats: blocks of calls per model.
        duration_s: seconds that a block takes, at least; None is 20 readings of the sensor, and 1
            second or more.

    Returns:
        An `Energy`, or for models by name a dict of them in the same order.

    Raises:
        VirtualPoolError: there is no sensor, it cannot be read or did not move; an argument is out
            of range, or a model does not run on the inputs.

    >>> import torch
    >>> from virtualpool.measure import meter
    >>> watts = meter("echo 40", unit="W", interval=0.01)  # a wall meter
    >>> measured = energy(
    ...     nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 16, 16), meter=watts, repeats=1, duration_s=0.2
    ... )
    >>> measured.source, len(measured.samples_j)
    ('echo 40: total', 1)
    """
    named = {"the model": models} if isinstance(models, nn.Module) else models
    check(named, mode, duration_s, batch=batch, threads=threads, repeats=repeats)
    if idle not in ("include", "subtract"):
        raise VirtualPoolError(f'idle {idle!r} is not known; give "include" or "subtract".')
    with prepared(
        named,
        example_inputs,
        mode=mode,
        device=device,
        dtype=dtype,
        batch=batch,
        threads=threads,
        channels_last=channels_last,
    ) as ready:
        meter = meter_of(ready.device) if meter is None else meter
        long = _long_enough(meter.sensor, duration_s)
        idle_watts = _idle_watts(meter, long) if idle == "subtract" else None
        now = clock(ready.device)
        blocks = [
            functools.partial(_measured, meter, Block(function, ready.device), now, long)
            for function in ready.functions
        ]
        found = alternated(blocks, repeats)
    results = {
        name: _energy(works, idle_watts, meter.sensor, setting)
        for name, works, setting in zip(named, found, ready.settings, strict=True)
    }
    for name, result in results.items():
        _check_positive(name, result)
    return results["the model"] if isinstance(models, nn.Module) else results


@dataclass(frozen=True)
class _Work:
    """The work of one block, and the joules that it took."""

    rails: dict[str, float]
    seconds: float
    calls: int


def _measured(meter: Meter, block: Block, now: Callable[[], float], duration_s: float) -> _Work:
    calls, taken = 0, 0.0

    def work() -> None:
        nonlocal calls, taken
        start = now()
        while taken < duration_s:
            block.run()
            calls += block.calls
            taken = now() - start

    rails = meter.joules(work)
    return _Work(rails, taken, calls)


def _idle_watts(meter: Meter, duration_s: float) -> float:
    start = time.perf_counter()
    rails = meter.joules(lambda: time.sleep(duration_s))
    return sum(rails.values()) / (time.perf_counter() - start)


def _long_enough(sensor: Sensor, duration_s: float | None) -> float:
    least = _READINGS * sensor.interval
    if duration_s is None:
        return max(least, _LEAST_SECONDS)
    if duration_s < least:
        raise VirtualPoolError(
            f"duration_s is {duration_s:g}, and {sensor.name} gives a reading every "
            f"{sensor.interval:g} s: too few to measure by. Give {least:g} or more."
        )
    return duration_s


def _energy(
    works: tuple[_Work, ...], idle_watts: float | None, sensor: Sensor, setting: Setting
) -> Energy:
    return Energy(
        rails={rail: tuple(work.rails[rail] for work in works) for rail in works[0].rails},
        duration_s=tuple(work.seconds for work in works),
        images=tuple(work.calls * setting.batch for work in works),
        idle_watts=idle_watts,
        sensor=sensor,
        setting=setting,
    )


def _check_positive(name: str, measured: Energy) -> None:
    if min(measured.joules) <= 0:
        raise VirtualPoolError(
            f"{measured.source} gave no more than {min(measured.joules):g} J while {name} ran for "
            f"{min(measured.duration_s):.1f} s: it does not move in that time. Give a longer "
            "duration_s, or another meter."
        )
    if min(measured.samples_j) <= 0:
        raise VirtualPoolError(
            f"{measured.source}: with {name} at work it read {measured.watts:.1f} W, and "
            f"{measured.idle_watts:.1f} W before, with nothing to do. The machine was busy with "
            'something else: wait for its end, or leave the idle power in by idle="include".'
        )
