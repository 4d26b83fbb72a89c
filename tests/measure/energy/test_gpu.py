"""zeus itself, over an NVML of ours."""

import sys
from types import SimpleNamespace

import pytest

from virtualpool import VirtualPoolError
from virtualpool.measure.energy.gpu import gpu


class Nvml:
    """Two GPUs; the second has counted 5 kJ when the test begins."""

    def __init__(self) -> None:
        self.millijoules, self.milliwatts = {0: 0, 1: 5_000_000}, {0: 60_000, 1: 70_000}
        self.counts = True


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch):
    zeus = pytest.importorskip("zeus.device.gpu")
    pynvml = pytest.importorskip("pynvml")
    cards = Nvml()

    def unsupported(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def architecture(_: int) -> int:
        return pynvml.NVML_DEVICE_ARCH_VOLTA if cards.counts else pynvml.NVML_DEVICE_ARCH_PASCAL

    def fields(handle: int, _: object) -> list[SimpleNamespace]:
        value = SimpleNamespace(uiVal=cards.milliwatts[handle])
        return [SimpleNamespace(nvmlReturn=pynvml.NVML_SUCCESS, value=value)]

    for name, function in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetC2cModeInfoV": unsupported,
        "nvmlDeviceGetArchitecture": architecture,
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: cards.millijoules[handle],
        "nvmlDeviceGetFieldValues": fields,
    }.items():
        monkeypatch.setattr(pynvml, name, function)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(zeus, "_gpus", None)  # zeus asks NVML once a process
    zeus.nvml_is_available.cache_clear()
    yield cards
    zeus.nvml_is_available.cache_clear()


def test_the_counter_of_the_gpu_that_is_asked_for(nvml):
    def work() -> None:
        nvml.millijoules[0] += 1_000
        nvml.millijoules[1] += 42_500

    meter = gpu(1)
    assert meter.sensor.gives == "joules"
    assert meter.joules(work) == {"GPU 1": 42.5}
    assert gpu().joules(work) == {"GPU 0": 1.0}


def test_visible_devices_are_those_of_torch(nvml, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")

    def work() -> None:
        nvml.millijoules[1] += 3_000

    assert gpu(0).joules(work) == {"GPU 0": 3.0}


def test_an_old_gpu_is_sampled(nvml, machine):
    nvml.counts = False
    meter = gpu(1)
    assert meter.sensor.gives == "watts"
    assert meter.joules(lambda: machine.spend(2.0, watts=0)) == pytest.approx({"GPU 1": 140.0})


def test_what_zeus_refuses_is_said(nvml, monkeypatch):
    with pytest.raises(VirtualPoolError, match="zeus cannot read GPU 7"):
        gpu(7)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-5c89f2a4")
    monkeypatch.setattr("zeus.device.gpu._gpus", None)
    with pytest.raises(VirtualPoolError, match=r"GPU 0 .*MIG"):
        gpu(0)


def test_without_zeus_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeus.device", None)
    with pytest.raises(VirtualPoolError, match=r"pip install 'virtualpool\[energy\]'"):
        gpu()
