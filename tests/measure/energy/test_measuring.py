import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.measure import Energy, Sensor, energy
from virtualpool.measure.energy import measuring
from virtualpool.measure.energy.jetson import jetson
from virtualpool.measure.energy.rapl import rapl

IMAGE = torch.zeros(1, 3, 4, 4)


class Network(nn.Module):
    """Takes so many watts for so many seconds at every call."""

    def __init__(self, machine, seconds=0.02, watts=50.0):
        super().__init__()
        self.machine, self.seconds, self.watts = machine, seconds, watts

    def forward(self, image):
        self.machine.spend(self.seconds, self.watts)
        return image


class Counter:
    """A meter of the user's own: the machine's joules, counted in steps."""

    def __init__(self, machine, step=0.0, interval=0.001):
        self.sensor, self.total, self.step = Sensor("own", "joules", interval), 0.0, step
        machine.sensors.append(self.used)

    def used(self, seconds, watts):
        self.total += seconds * watts

    def joules(self, work):
        before = self.shown()
        work()
        return {"total": self.shown() - before}

    def shown(self):
        return self.total - (self.total % self.step if self.step else 0)


def test_known_joules_of_a_processor(machine, powercap):
    measured = energy(Network(machine, 0.5), IMAGE, meter=rapl(powercap), repeats=3)
    assert measured.samples_j == pytest.approx((25.0,) * 3)  # 50 W for half a second
    assert measured.watts == pytest.approx(50)
    assert list(measured.rails) == ["package-0", "package-0 dram", "package-1"]
    assert sum(measured.rails["package-1"]) == pytest.approx(0.3 * sum(measured.joules))
    assert measured.idle_watts is None
    assert min(measured.duration_s) >= 1
    assert (measured.setting.device, measured.setting.batch) == ("cpu", 1)


def test_known_joules_of_a_jetson(machine, ina3221):
    root = ina3221(VDD_GPU_SOC=(5000, 2000), VDD_CPU_CV=(5000, 400))
    measured = energy(Network(machine), IMAGE, meter=jetson(root=root), repeats=2)
    assert measured.samples_j == pytest.approx((0.24, 0.24))  # 10 and 2 W for 0.02 s
    assert measured.rails["VDD_CPU_CV"] == pytest.approx([2 * it for it in measured.duration_s])


def test_idle_power_is_subtracted_where_it_is_asked_for(machine, powercap):
    measured = energy(
        Network(machine, 0.5), IMAGE, meter=rapl(powercap), repeats=2, idle="subtract"
    )
    assert measured.idle_watts == pytest.approx(10)
    assert measured.samples_j == pytest.approx((20.0, 20.0))
    assert measured.watts == pytest.approx(50)


def test_several_models_interleaved_and_their_shares(machine):
    models = {"slow": Network(machine), "fast": Network(machine, seconds=0.01, watts=40)}
    found = energy(models, IMAGE, meter=Counter(machine), repeats=4)
    assert list(found) == ["slow", "fast"]
    assert found["slow"].median_j == pytest.approx(1.0)
    assert found["fast"].median_j == pytest.approx(0.4)
    assert found["fast"].share_of(found["slow"]).median == pytest.approx(0.4)


def test_per_image_of_the_batch_that_is_asked_for(machine):
    measured = energy(Network(machine), IMAGE, meter=Counter(machine), repeats=1, batch=4)
    assert measured.median_j == pytest.approx(0.25)
    assert measured.setting.batch == 4
    assert measured.images[0] == 4 * round(measured.duration_s[0] / 0.02)


@pytest.mark.parametrize(
    ("interval", "seconds", "expected"),
    [(0.001, None, 1.0), (0.1, None, 2.0), (1.0, None, 20.0), (0.001, 3.0, 3.0), (0.1, 2.0, 2.0)],
)
def test_a_block_is_long_enough_for_the_sensor(machine, interval, seconds, expected):
    meter = Counter(machine, interval=interval)
    measured = energy(Network(machine, 0.02), IMAGE, meter=meter, repeats=1, duration_s=seconds)
    assert expected <= measured.duration_s[0] < expected + 0.2


def test_a_long_call_is_a_block_by_itself(machine):
    measured = energy(Network(machine, 30.0, 2.0), IMAGE, meter=Counter(machine), repeats=1)
    assert (measured.images, measured.samples_j) == ((1,), pytest.approx((60.0,)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"idle": "ignore"}, 'idle \'ignore\' is not known; give "include" or "subtract"'),
        (
            {"duration_s": 0.01},
            r"duration_s is 0.01, and own gives a reading every 0.001 s.*Give 0.02",
        ),
        ({"duration_s": math.nan}, "duration_s is nan"),
        ({"repeats": 0}, "repeats is 0"),
        ({"mode": "fast"}, "mode 'fast'"),
    ],
)
def test_wrong_arguments(machine, arguments, said):
    with pytest.raises(VirtualPoolError, match=said):
        energy(Network(machine), IMAGE, meter=Counter(machine), **arguments)


def test_a_sensor_that_does_not_move_gives_no_number(machine):
    with pytest.raises(VirtualPoolError, match=r"own: total gave no more than 0 J while a ran"):
        energy({"a": Network(machine)}, IMAGE, meter=Counter(machine, step=1e6))


def test_work_that_takes_less_than_idling_gives_no_number(machine):
    with pytest.raises(VirtualPoolError, match=r"5\.0 W, and 10\.0 W before.*idle=\"include\""):
        energy(Network(machine, watts=5), IMAGE, meter=Counter(machine), idle="subtract")


def test_no_sensor_gives_no_number(machine, monkeypatch):
    def no_meter(device):
        raise VirtualPoolError(f"No energy sensor for {device}.")

    monkeypatch.setattr(measuring, "meter_of", no_meter)
    with pytest.raises(VirtualPoolError, match="No energy sensor for cpu"):
        energy(Network(machine), IMAGE)


def test_energies_that_were_measured_otherwise_are_not_compared(machine):
    first = energy(Network(machine), IMAGE, meter=Counter(machine), repeats=1)
    others = {
        "batch 1 and 8": replace(first, setting=replace(first.setting, batch=8)),
        "sensor own: total and wall: total": replace(first, sensor=Sensor("wall", "watts", 1.0)),
        "watts when idle None and 3.0": replace(first, idle_watts=3.0),
        "runs 1 and 2": replace(
            first,
            rails={rail: 2 * each for rail, each in first.rails.items()},
            duration_s=2 * first.duration_s,
            images=2 * first.images,
        ),
    }
    for said, other in others.items():
        with pytest.raises(VirtualPoolError, match=said):
            first.share_of(other)


def test_json_round_trip(machine):
    measured = energy(Network(machine), IMAGE, meter=Counter(machine), repeats=2, idle="subtract")
    assert Energy.from_json(json.loads(json.dumps(measured.to_json()))) == measured


@pytest.mark.parametrize("value", [None, [], {}, {"rails": {}, "more": 1}])
def test_wrong_json(value):
    with pytest.raises(VirtualPoolError, match="Not an energy"):
        Energy.from_json(value)
