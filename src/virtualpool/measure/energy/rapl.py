"""The energy counters of Intel's and AMD's processors (RAPL), from the kernel's powercap files.

We read these files ourselves because zeus (0.16) cannot be trusted with them. Its reader starts a
process that counts how often a counter began anew: read before that process has seen it, a block is
off by the counter's whole range (-262 kJ where 5 J were used); a script without an
`if __name__ == "__main__"` cannot start it at all, and then every such block is off. It also takes
a laptop's `psys`, which contains the processor, for a second processor.
`benchmarks/speed/zeus_rapl.py` shows it.
"""

from dataclasses import dataclass
from pathlib import Path

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.energy.counting import Counting
from virtualpool.measure.energy.sensor import Sensor

ROOT = Path("/sys/class/powercap")
# The counters are renewed every millisecond or so.
_INTERVAL = 0.001


@dataclass(frozen=True)
class _Zone:
    rail: str
    path: Path

    def joules(self) -> float:
        return _microjoules(self.path / "energy_uj") / 1e6


def rapl(root: Path = ROOT) -> Counting:
    """A meter of all processors, and of their memory where that is counted apart.

    Args:
        root: the kernel's powercap folder.

    Raises:
        VirtualPoolError: there are no counters, or they may not be read.
    """
    zones = _zones(root)
    if not zones:
        raise VirtualPoolError(
            f"RAPL: {root} has no intel-rapl zone of a processor; Linux has them for Intel's and "
            "AMD's processors, most virtual machines and containers hide them."
        )
    wraps_at = {zone.rail: _microjoules(zone.path / "max_energy_range_uj") / 1e6 for zone in zones}
    meter = Counting(
        Sensor("RAPL", "joules", _INTERVAL),
        lambda: {zone.rail: zone.joules() for zone in zones},
        wraps_at,
    )
    meter.read()
    return meter


def _zones(root: Path) -> list[_Zone]:
    # Cores and graphics are inside the package, and the package inside psys: these are left out.
    found = []
    for path in sorted(root.glob("intel-rapl:*")):
        name = _text(path / "name")
        if name.startswith("package"):
            found.append(_Zone(name, path))
        elif name == "dram":
            package = path.with_name(path.name.rpartition(":")[0])
            found.append(_Zone(f"{_text(package / 'name')} {name}", path))
    return found


def _microjoules(path: Path) -> float:
    return float(_text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except PermissionError as error:
        raise VirtualPoolError(
            f"RAPL: {path} may be read by root only. Run as root, or give the right to read until "
            "the next start of the machine: "
            "sudo chmod -R a+r /sys/devices/virtual/powercap/intel-rapl"
        ) from error
    except OSError as error:
        raise VirtualPoolError(f"RAPL: {path} cannot be read ({error.strerror}).") from error
