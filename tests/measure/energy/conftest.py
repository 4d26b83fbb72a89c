"""A machine whose time and energy are known: a clock, and sensors in a simulated sysfs."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest


class Machine:
    """Time passes and joules are used only when something is done, by so many watts.

    Attributes:
        now: seconds.
        sensors: are told of the energy used.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.sensors: list[Callable[[float, float], None]] = []

    def spend(self, seconds: float, watts: float) -> None:
        self.now += seconds
        for sensor in self.sensors:
            sensor(seconds, watts)

    def __deepcopy__(self, memo: dict[int, object]) -> "Machine":
        return self  # copies of a model run on the same machine


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine that runs the test; when it sleeps, it takes 10 watts."""
    here = Machine()
    monkeypatch.setattr(time, "perf_counter", lambda: here.now)
    monkeypatch.setattr(time, "sleep", lambda seconds: here.spend(seconds, watts=10))
    return here


class Zone:
    """A counter of RAPL, in its files."""

    def __init__(self, path: Path, name: str, counted: int, wraps_at: int) -> None:
        path.mkdir(parents=True)
        self._file, self._counted, self._wraps_at = path / "energy_uj", counted, wraps_at
        (path / "name").write_text(f"{name}\n")
        (path / "max_energy_range_uj").write_text(f"{wraps_at}\n")
        self.add(0)

    def add(self, joules: float) -> None:
        self._counted = (self._counted + round(joules * 1e6)) % self._wraps_at
        self._file.write_text(f"{self._counted}\n")


@pytest.fixture
def powercap(tmp_path: Path, machine: Machine) -> Path:
    """RAPL as of a machine with two processors; a tenth of the power goes into their memory."""
    root, wraps_at = tmp_path / "powercap", 262_143_328_850
    zones = {
        "intel-rapl:0": ("package-0", 262_143_328_849, 0.6),  # about to begin anew
        "intel-rapl:0:0": ("core", 0, 0.5),
        "intel-rapl:0:1": ("dram", 0, 0.1),
        "intel-rapl:1": ("package-1", 7, 0.3),
        "intel-rapl:2": ("psys", 0, 1.5),
        "intel-rapl-mmio:0": ("package-0", 0, 0.6),
    }
    for folder, (name, counted, part) in zones.items():
        zone = Zone(root / folder, name, counted, wraps_at)
        machine.sensors.append(
            lambda seconds, watts, zone=zone, part=part: zone.add(seconds * watts * part)
        )
    return root


@pytest.fixture
def ina3221(tmp_path: Path) -> Callable[..., Path]:
    """Makes the power sensors of a Jetson, from the millivolts and milliamperes of its rails."""

    def make(**rails: tuple[int, int]) -> Path:
        root = tmp_path / "ina3221"
        for index, (rail, (millivolts, milliamperes)) in enumerate(rails.items()):
            chip = root / f"1-004{index // 3}" / "hwmon" / f"hwmon{index // 3}"
            chip.mkdir(parents=True, exist_ok=True)
            number = index % 3 + 1
            (chip / f"in{number}_label").write_text(f"{rail}\n")
            (chip / f"in{number}_input").write_text(f"{millivolts}\n")
            (chip / f"curr{number}_input").write_text(f"{milliamperes}\n")
            (chip / "in7_label").write_text("sum of shunt voltages\n")
            (chip / "in7_input").write_text("1\n")
        return root

    return make
