"""A meter of the user's own, such as one in the wall socket: a file or a command gives a number."""

import math
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.energy.counting import Counting
from virtualpool.measure.energy.sampling import Sampling
from virtualpool.measure.energy.sensor import Meter, Sensor

_WATTS = {"W": 1.0, "mW": 1e-3, "uW": 1e-6}
_JOULES = {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "Wh": 3.6e3, "kWh": 3.6e6}
UNITS = (*_WATTS, *_JOULES)
_PATIENCE = 10.0
"""Seconds that a command may take for one number."""


def from_file(path: Path | str, unit: str = "W", interval: float = 1.0) -> Meter:
    r"""A meter of a file that holds one number, written anew at every reading.

    Args:
        path: the file.
        unit: of power (W, mW, uW), which is sampled, or of an energy that only grows (J, mJ, uJ,
            Wh, kWh).
        interval: seconds in which the number is renewed.

    Raises:
        VirtualPoolError: the file cannot be read, holds no number, or the unit is not known.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "watts")
    >>> _ = path.write_text("12.5\n")
    >>> from_file(path, "W").sensor.gives
    'watts'
    """

    def text() -> str:
        try:
            return Path(path).read_text()
        except (OSError, ValueError) as error:
            raise VirtualPoolError(f"Energy from {path}: cannot be read ({error}).") from error

    return _meter(str(path), text, unit, interval)


def from_command(command: str, unit: str = "W", interval: float = 1.0) -> Meter:
    """A meter of a command that prints one number; it runs without a shell.

    Args:
        command: the program and its arguments.
        unit: as of `from_file`.
        interval: seconds between two calls of it.

    Raises:
        VirtualPoolError: the command fails or prints no number, or the unit is not known.
    """

    def text() -> str:
        try:
            done = subprocess.run(
                shlex.split(command), capture_output=True, text=True, timeout=_PATIENCE, check=False
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise VirtualPoolError(
                f"Energy from {command!r}: it does not run ({error})."
            ) from error
        if done.returncode:
            said = done.stderr.strip().rpartition("\n")[2]
            raise VirtualPoolError(
                f"Energy from {command!r}: it ended with exit code {done.returncode} ({said})."
            )
        return done.stdout

    return _meter(command, text, unit, interval)


def _meter(name: str, text: Callable[[], str], unit: str, interval: float) -> Meter:
    if unit not in UNITS:
        raise VirtualPoolError(f"Energy in {unit} is not known; give one of {', '.join(UNITS)}.")
    if not 0 < interval < math.inf:
        raise VirtualPoolError(f"interval is {interval}; give the seconds between two readings.")
    counts = unit in _JOULES
    factor = _JOULES[unit] if counts else _WATTS[unit]

    def read() -> dict[str, float]:
        return {"total": factor * _number(name, unit, text())}

    read()
    if counts:
        return Counting(Sensor(name, "joules", interval), read)
    return Sampling(Sensor(name, "watts", interval), read)


def _number(name: str, unit: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise VirtualPoolError(
            f"Energy from {name}: expected a number of {unit} and nothing else, found {text!r:.60}."
        )
    return number
