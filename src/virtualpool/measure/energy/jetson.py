"""The power sensors on NVIDIA's Jetson boards (INA3221), from the kernel's hwmon files.

These are the files of JetPack 5 and later. jetson-stats reads the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.energy.sampling import Sampling
from virtualpool.measure.energy.sensor import Sensor

ROOT = Path("/sys/bus/i2c/drivers/ina3221")
_INTERVAL = 0.05
# Boards that have one of these count all other rails in it.
_TOTALS = ("VDD_IN", "POM_5V_IN")


@dataclass(frozen=True)
class _Channel:
    millivolts: Path
    milliamperes: Path

    def watts(self) -> float:
        return _number(self.millivolts) * _number(self.milliamperes) / 1e6


def jetson(rails: Sequence[str] = (), root: Path = ROOT) -> Sampling:
    """A meter of a Jetson's power rails.

    Args:
        rails: which ones, by the board's names (`VDD_GPU_SOC`); without any, the rail that feeds
            the whole module where there is one, else all.
        root: the kernel's folder of the driver.

    Raises:
        VirtualPoolError: there is no such sensor, or no such rail.
    """
    channels = _channels(root)
    if not channels:
        raise VirtualPoolError(f"INA3221: {root} has no power rails; only Jetson boards have them.")
    if unknown := [rail for rail in rails if rail not in channels]:
        raise VirtualPoolError(
            f"INA3221: there is no rail {', '.join(unknown)}; this board has {', '.join(channels)}."
        )
    chosen = rails or [rail for rail in channels if rail in _TOTALS] or channels
    meter = Sampling(
        Sensor("INA3221", "watts", _INTERVAL),
        lambda: {rail: channels[rail].watts() for rail in chosen},
    )
    meter.read()
    return meter


def _channels(root: Path) -> dict[str, _Channel]:
    found = {}
    for label in sorted(root.glob("*/hwmon/hwmon*/in*_label")):
        number = label.name.removeprefix("in").removesuffix("_label")
        millivolts = label.with_name(f"in{number}_input")
        milliamperes = label.with_name(f"curr{number}_input")
        rail = _text(label)
        # A channel without a current is the sum of shunt voltages; NC is not connected.
        if milliamperes.exists() and rail != "NC":
            found[rail] = _Channel(millivolts, milliamperes)
    return found


def _number(path: Path) -> float:
    return float(_text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise VirtualPoolError(f"INA3221: {path} cannot be read ({error.strerror}).") from error
