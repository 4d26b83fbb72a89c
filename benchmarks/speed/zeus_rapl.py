"""Why RAPL is not read by zeus: its readings of a simulated counter that begins anew.

    python -m benchmarks.speed.zeus_rapl    # needs virtualpool[energy]

The counter uses 5 J, and begins anew meanwhile; `psys` contains the processor.
"""

import tempfile
import time
from pathlib import Path

from zeus.device.cpu import rapl as zeus_rapl
from zeus.monitor import ZeusMonitor

from virtualpool.measure.energy.rapl import rapl

WRAPS_AT = 262_143_328_850
BEFORE, AFTER = 262_143_000_000, 4_671_150
SECONDS_TO_START = 5


def main() -> None:
    folder = Path(tempfile.mkdtemp()) / "intel-rapl"
    package = _zone(folder / "intel-rapl:0", "package-0")
    _zone(folder / "intel-rapl:1", "psys")
    print("ours:", rapl(folder).joules(lambda: package.write_text(str(AFTER))))
    package.write_text(str(BEFORE))
    zeus_rapl.RAPL_DIR = str(folder)
    monitor = ZeusMonitor(gpu_indices=[])
    monitor.begin_window("work", sync_execution=False)
    time.sleep(SECONDS_TO_START)
    package.write_text(str(AFTER))
    print("zeus:", monitor.end_window("work", sync_execution=False).cpu_energy)


def _zone(path: Path, name: str) -> Path:
    path.mkdir(parents=True)
    (path / "name").write_text(name)
    (path / "max_energy_range_uj").write_text(str(WRAPS_AT))
    counter = path / "energy_uj"
    counter.write_text(str(BEFORE))
    return counter


if __name__ == "__main__":
    main()
