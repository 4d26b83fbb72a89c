import contextlib
import time

import pytest
import torch

from virtualpool.measure import timing

CPU = torch.device("cpu")


class Clock:
    """Advances only when a function is called."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def function(self, seconds, log=None, name=None):
        def run():
            self.now += seconds
            if log is not None:
                log.append(name)

        return run


@pytest.mark.parametrize(
    ("seconds", "calls"), [(1.0, 1), (0.05, 1), (0.03, 2), (0.01, 8), (0.001, 64)]
)
def test_a_block_is_long_enough_and_gives_the_time_of_one_call(monkeypatch, seconds, calls):
    monkeypatch.setattr(timing, "_BLOCK_SECONDS", 0.05)  # the tests have it shorter
    block = timing.Block(Clock(monkeypatch).function(seconds), CPU)
    assert block.calls == calls
    assert block.milliseconds() == pytest.approx(1e3 * seconds)


def test_rounds_interleave_in_changing_order(monkeypatch):
    clock, log = Clock(monkeypatch), []
    functions = [clock.function(second, log, second) for second in (1.0, 2.0, 3.0)]
    samples = timing.interleaved(functions, CPU, repeats=6, duration_s=None)
    assert samples == [(1e3,) * 6, (2e3,) * 6, (3e3,) * 6]
    # In a round each is called twice in a row: once untimed, once timed.
    called = log[-6 * 3 * 2 :: 2]
    repeats = [tuple(called[start : start + 3]) for start in range(0, 18, 3)]
    assert all(sorted(order) == [1.0, 2.0, 3.0] for order in repeats)
    assert len(set(repeats)) > 2


@pytest.mark.parametrize(("seconds", "repeats"), [(1.0, 3), (15.0, 4), (17.0, 5), (1000.0, 20)])
def test_time_is_a_budget_per_function(monkeypatch, seconds, repeats):
    clock = Clock(monkeypatch)
    # A repeat takes 2 * (1 + 3) seconds, 4 for each of the two.
    functions = [clock.function(1.0), clock.function(3.0)]
    samples = timing.interleaved(functions, CPU, repeats=20, duration_s=seconds)
    assert [len(times) for times in samples] == [repeats, repeats]


def test_threads_are_restored_after_an_error():
    before = torch.get_num_threads()
    with contextlib.suppress(ZeroDivisionError), timing.threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
