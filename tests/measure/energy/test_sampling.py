import threading

import pytest

from virtualpool import VirtualPoolError
from virtualpool.measure.energy.sampling import Sampling, mean_watts
from virtualpool.measure.energy.sensor import Sensor

OFTEN = Sensor("a sensor", "watts", 1e-3)


@pytest.mark.parametrize(
    ("samples", "mean"),
    [
        ([(0, 10), (2, 10)], 10),
        ([(0, 0), (2, 10)], 5),
        ([(0, 0), (1, 10), (2, 0)], 5),
        ([(0, 10), (1, 10), (10, 20)], 14.5),  # unevenly spaced
    ],
)
def test_the_mean_over_time(samples, mean):
    both = [(seconds, {"GPU": watts, "CPU": 3.0}) for seconds, watts in samples]
    assert mean_watts(both) == {"GPU": mean, "CPU": 3.0}


def test_it_samples_while_the_work_is_done():
    readings, enough = [], threading.Event()

    def read() -> dict[str, float]:
        readings.append(threading.current_thread().name)
        if len(readings) > 5:
            enough.set()
        return {"total": 8.0}

    found = Sampling(OFTEN, read).joules(lambda: enough.wait(60))
    assert enough.is_set()
    assert found["total"] > 0
    assert readings[0] == readings[-1] == threading.current_thread().name
    assert set(readings[1:-1]) == {"energy"}
    assert "energy" not in [thread.name for thread in threading.enumerate()]


def test_what_fails_in_the_thread_is_raised_when_the_work_is_done():
    failed, done = threading.Event(), []

    def read() -> dict[str, float]:
        if threading.current_thread().name == "energy":
            failed.set()
            raise VirtualPoolError("the meter is gone")
        return {"total": 8.0}

    def work() -> None:
        assert failed.wait(60)
        done.append(True)

    with pytest.raises(VirtualPoolError, match="the meter is gone"):
        Sampling(OFTEN, read).joules(work)
    assert done


def test_the_thread_ends_when_the_work_fails():
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Sampling(OFTEN, lambda: {"total": 8.0}).joules(work)
    assert "energy" not in [thread.name for thread in threading.enumerate()]
