from pathlib import Path

import pytest

from virtualpool import VirtualPoolError
from virtualpool.measure.energy.rapl import rapl


def test_processors_and_memory_are_counted_once_each_and_over_the_wrap(powercap, machine):
    meter = rapl(powercap)
    assert meter.joules(lambda: machine.spend(2.0, watts=50)) == pytest.approx(
        {"package-0": 60.0, "package-0 dram": 10.0, "package-1": 30.0}
    )
    assert (meter.sensor.name, meter.sensor.gives) == ("RAPL", "joules")


def test_every_reading_is_made_anew(powercap, machine):
    meter = rapl(powercap)
    for seconds in (1.0, 3.0, 0.0):
        found = meter.joules(lambda seconds=seconds: machine.spend(seconds, watts=100))
        assert sum(found.values()) == pytest.approx(100 * seconds)


@pytest.mark.parametrize("zones", [[], ["intel-rapl:0"]])
def test_no_counters(tmp_path, zones):
    for zone in zones:
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "name").write_text("psys\n")
    with pytest.raises(VirtualPoolError, match=f"{tmp_path} has no intel-rapl zone of a processor"):
        rapl(tmp_path)
    with pytest.raises(VirtualPoolError, match="virtual machines"):
        rapl(tmp_path / "nowhere")


def test_the_right_to_read_is_what_is_asked_for(powercap, monkeypatch):
    read_text = Path.read_text

    def only_root(path: Path, *arguments: object) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read_text(path)

    monkeypatch.setattr(Path, "read_text", only_root)
    with pytest.raises(VirtualPoolError, match=r"energy_uj may be read by root.*chmod -R a\+r"):
        rapl(powercap)


def test_a_counter_that_goes_away_is_named(powercap):
    meter = rapl(powercap)
    with pytest.raises(VirtualPoolError, match="intel-rapl:1/energy_uj cannot be read"):
        meter.joules((powercap / "intel-rapl:1" / "energy_uj").unlink)
