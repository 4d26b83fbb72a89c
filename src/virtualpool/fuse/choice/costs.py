"""Which of several exact ways is the fastest on this machine: timed once, and remembered.

The times lie in `costs.json` in the cache directory (`files.cache_folder`), by machine, version
of PyTorch, and number of threads. Without the file they are measured again.
"""

import statistics
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from virtualpool.errors import VirtualPoolError
from virtualpool.files import cache_folder, read_json, write_json
from virtualpool.measure.setting import device_name
from virtualpool.measure.timing import clock

_ROUNDS = 5
_known: dict[str, dict[str, float]] = {}


def costs(
    operation: str, ways: dict[str, Callable[[], Any]], device: torch.device
) -> dict[str, float]:
    """Milliseconds of each way to do an operation.

    Args:
        operation: its name, sizes, dtype and layout: the time depends on them.
        ways: functions of nothing, by name.
        device: where they run.
    """
    key = f"{_machine(device)}, {operation}"
    if key not in _known or _known[key].keys() != ways.keys():
        remembered = _remembered()
        if remembered.get(key, {}).keys() != ways.keys():
            remembered[key] = timed(ways, device)
            _remember(remembered)
        _known[key] = remembered[key]
    return _known[key]


@torch.no_grad()
def timed(ways: dict[str, Callable[[], Any]], device: torch.device) -> dict[str, float]:
    """The median of a few calls of each way, interleaved."""
    now = clock(device)
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS + 1):
        for name, run in ways.items():
            start = now()
            run()
            samples[name].append(1e3 * (now() - start))
    return {name: statistics.median(times[1:]) for name, times in samples.items()}


def _machine(device: torch.device) -> str:
    return f"{device_name(device)}, torch {torch.__version__}, {torch.get_num_threads()} threads"


def _remembered() -> dict[str, dict[str, float]]:
    try:
        found = read_json(cache_folder() / "costs.json")
        return {key: {way: float(ms) for way, ms in times.items()} for key, times in found.items()}
    except (VirtualPoolError, AttributeError, TypeError, ValueError):
        return {}  # not there, or of no use: measured again, and replaced


def _remember(times: dict[str, dict[str, float]]) -> None:
    # Where nothing may be written, each process measures for itself.
    with suppress(VirtualPoolError, OSError):
        write_json(cache_folder() / "costs.json", times)
