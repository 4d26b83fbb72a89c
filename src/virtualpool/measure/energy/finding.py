"""Which meter measures: the one that is named, or the sensor of the device."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.energy.gpu import gpu
from virtualpool.measure.energy.jetson import jetson
from virtualpool.measure.energy.own import from_command, from_file
from virtualpool.measure.energy.rapl import rapl
from virtualpool.measure.energy.sensor import Meter

OWN = (
    "To measure with a meter of your own, name a file or a command that gives a number: "
    'measure.meter("FILE or COMMAND", unit="W"), or --energy-from and --energy-unit.'
)


def meter(source: str | Path, *, unit: str = "W", interval: float = 1.0) -> Meter:
    """A meter by its name.

    Args:
        source: `rapl`; `gpu` or `gpu:1`; `jetson` or, with rails, `jetson:VDD_GPU_SOC,VDD_CPU_CV`;
            else the path of a file that holds one number, or a command that prints one.
        unit: the number's unit: W, mW, uW for power, J, mJ, uJ, Wh, kWh for energy that only grows.
        interval: seconds in which that number is renewed.

    Raises:
        VirtualPoolError: there is no such meter, or it cannot be read.

    >>> meter("echo 40.5").joules(lambda: None).keys()
    dict_keys(['total'])
    """
    kind, _, detail = str(source).partition(":")
    if kind == "rapl" and not detail:
        return rapl()
    if kind == "gpu" and (not detail or detail.isdecimal()):
        return gpu(int(detail or 0))
    if kind == "jetson":
        return jetson(detail.split(",") if detail else ())
    if Path(source).is_file():
        return from_file(source, unit, interval)
    if shutil.which(_program(str(source))):
        return from_command(str(source), unit, interval)
    raise VirtualPoolError(
        f"Energy from {str(source)!r}: this is no file and no command; give rapl, gpu, jetson, the "
        "path of a file that holds a number, or a command that prints one."
    )


def meter_of(device: torch.device) -> Meter:
    """The meter of a device: on a Jetson its board's, else the GPU's or the processor's own.

    Raises:
        VirtualPoolError: none can be read here; it lists the sensors and the places tried.
    """
    candidates: list[Callable[[], Meter]] = [jetson]
    if device.type == "cuda":
        candidates.append(lambda: gpu(device.index or 0))
    if device.type == "cpu":
        candidates.append(rapl)
    reasons = []
    for candidate in candidates:
        found = _found(candidate)
        if not isinstance(found, VirtualPoolError):
            return found
        reasons.append(str(found))
    raise VirtualPoolError(f"No energy sensor for {device}. {' '.join(reasons)} {OWN}")


def _found(candidate: Callable[[], Meter]) -> Meter | VirtualPoolError:
    try:
        return candidate()
    except VirtualPoolError as error:
        return error


def _program(command: str) -> str:
    try:
        return (shlex.split(command) or [""])[0]
    except ValueError:  # a quote that is not closed
        return ""
