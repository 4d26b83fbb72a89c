import functools
import sys

import pytest
import torch

from virtualpool import VirtualPoolError
from virtualpool.measure import meter
from virtualpool.measure.energy import finding
from virtualpool.measure.energy.jetson import jetson
from virtualpool.measure.energy.rapl import rapl


@pytest.fixture
def sensors(monkeypatch, tmp_path):
    """Sensors in folders of the test; sensors that are not named have none."""

    def put(powercap=None, ina3221=None):
        nowhere = tmp_path / "nowhere"
        monkeypatch.setattr(finding, "rapl", functools.partial(rapl, powercap or nowhere))
        monkeypatch.setattr(
            finding, "jetson", functools.partial(jetson, root=ina3221 or nowhere / "ina3221")
        )

    return put


def test_the_sensor_of_the_device(sensors, powercap, ina3221):
    sensors(powercap)
    assert finding.meter_of(torch.device("cpu")).sensor.name == "RAPL"
    sensors(powercap, ina3221(VDD_IN=(5000, 1000)))
    for device in ("cpu", "cuda:0"):
        assert finding.meter_of(torch.device(device)).sensor.name == "INA3221"


@pytest.mark.parametrize(
    ("device", "looked_for"),
    [
        ("cpu", ["No energy sensor for cpu", "nowhere/ina3221", "RAPL: .*nowhere has no"]),
        ("cuda:1", ["No energy sensor for cuda:1", "nowhere/ina3221", "NVML"]),
        ("mps", ["No energy sensor for mps"]),
    ],
)
def test_no_sensor_says_where_it_looked_and_what_to_do(sensors, monkeypatch, device, looked_for):
    sensors()
    monkeypatch.setitem(sys.modules, "zeus.device", None)
    for said in [*looked_for, r"measure\.meter\(.*--energy-from"]:
        with pytest.raises(VirtualPoolError, match=said):
            finding.meter_of(torch.device(device))


def test_meters_by_name(sensors, powercap, ina3221, tmp_path, machine):
    sensors(powercap, ina3221(VDD_IN=(5000, 3000), VDD_SOC=(5000, 500)))
    assert meter("rapl").sensor.name == "RAPL"
    assert set(meter("jetson").joules(lambda: machine.spend(1, 0))) == {"VDD_IN"}
    assert set(meter("jetson:VDD_SOC").joules(lambda: machine.spend(1, 0))) == {"VDD_SOC"}
    (tmp_path / "watts").write_text("3")
    assert meter(tmp_path / "watts", interval=0.5).sensor.interval == 0.5
    assert meter(f"cat {tmp_path / 'watts'}", unit="J").sensor.gives == "joules"


@pytest.mark.parametrize("source", ["", "no-such-thing", "rapl:0", "gpu:first", "cat 'a"])
def test_what_is_no_meter(source):
    with pytest.raises(VirtualPoolError, match=r"no file and no command; give rapl, gpu, jetson"):
        meter(source)
