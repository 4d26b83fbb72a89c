"""Models made ready to be measured side by side: copies on one bench, warm, in eval mode."""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

import torch
from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import as_call, call
from virtualpool.graph.running import evaluating, run
from virtualpool.measure.bench import Bench, device_of, dtype_of, image_count
from virtualpool.measure.compiling import compiled
from virtualpool.measure.graphs import captured
from virtualpool.measure.setting import Setting, device_name
from virtualpool.measure.timing import threads as set_threads

Mode = Literal["eager", "compiled", "max-autotune", "cudagraph"]
Timed = nn.Module | tuple[nn.Module, Any]


class Conditions(TypedDict, total=False):
    """The options that `latency` and `energy` share; see there."""

    mode: Mode
    device: torch.device | str | None
    dtype: torch.dtype | str | None
    batch: int | None
    threads: int | None
    channels_last: bool


@dataclass(frozen=True)
class Prepared:
    """Models, ready to be measured.

    Attributes:
        device: the device to keep busy.
        functions: of nothing, one a model: each runs its model once on its inputs.
        settings: the setting of each measurement.
    """

    device: torch.device
    functions: list[Callable[[], Any]]
    settings: list[Setting]


@contextmanager
def prepared(
    models: Mapping[str, Timed],
    example_inputs: Any,
    *,
    mode: Mode,
    device: torch.device | str | None,
    dtype: torch.dtype | str | None,
    batch: int | None,
    threads: int | None,
    channels_last: bool,
) -> Iterator[Prepared]:
    """Copies of models, ready to be called for the time of the block; see `latency`."""
    given = [it if isinstance(it, tuple) else (it, example_inputs) for it in models.values()]
    bench = Bench.of(device_of(given[0][0]) if device is None else device, dtype, channels_last)
    copies = nn.ModuleList(bench.copy_of(model) for model, _ in given)
    inputs_of_each = [bench.inputs(inputs, batch) for _, inputs in given]
    with evaluating(copies), set_threads(threads):
        ready = Prepared(bench.device, [], [])
        for name, model, inputs in zip(models, copies, inputs_of_each, strict=True):
            run(model, as_call(inputs))
            ready.functions.append(_function(model, inputs, name, mode))
            setting = Setting(
                device=str(bench.device),
                device_name=device_name(bench.device),
                dtype=dtype_of(model),
                batch=image_count(inputs),
                threads=torch.get_num_threads(),
                mode=mode,
                channels_last=channels_last,
                torch=torch.__version__,
            )
            ready.settings.append(setting)
        yield ready


def _function(model: nn.Module, inputs: Any, name: str, mode: Mode) -> Callable[[], Any]:
    if mode == "eager":
        return functools.partial(call, model, inputs)
    if mode == "cudagraph":
        return captured(model, inputs, name)
    return compiled(model, inputs, name, tuned=mode == "max-autotune")


def check(
    models: Mapping[str, Timed], mode: str, duration_s: float | None, **counts: int | None
) -> None:
    """Refuses arguments with which no model can be measured."""
    if not models:
        raise VirtualPoolError("There is no model to measure; give one, or a dict of some by name.")
    if mode not in get_args(Mode):
        known = ", ".join(get_args(Mode))
        raise VirtualPoolError(f"mode {mode!r} is not known; give one of {known}.")
    for name, count in counts.items():
        if count is not None and count < 1:
            raise VirtualPoolError(f"{name} is {count}; give 1 or more.")
    if duration_s is not None and not duration_s > 0:
        raise VirtualPoolError(f"duration_s is {duration_s}; give more than 0.")
