"""The energy of a GPU, by zeus, which reads NVIDIA's through NVML."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.energy.counting import Counting
from virtualpool.measure.energy.sampling import Sampling
from virtualpool.measure.energy.sensor import Meter, Sensor

_NAME = "NVML by zeus"
# NVML renews its numbers ten times a second on most GPUs.
_INTERVAL = 0.1


def gpu(index: int = 0) -> Meter:
    """A meter of one GPU, all of it: other processes' work there is in the number.

    It reads the GPU's own counter of energy, or samples its power where it has none (before Volta).

    Args:
        index: as in `cuda:INDEX`; zeus minds CUDA_VISIBLE_DEVICES as torch does.

    Raises:
        VirtualPoolError: zeus is not installed, or cannot read this GPU.
    """
    rail = f"GPU {index}"
    with _refusing(rail):
        gpus = _gpus()
        counts = gpus.supports_get_total_energy_consumption(index)
    ask = gpus.get_total_energy_consumption if counts else gpus.get_instant_power_usage
    read = _reader(rail, lambda: ask(index))
    read()
    if counts:
        return Counting(Sensor(_NAME, "joules", _INTERVAL), read)
    return Sampling(Sensor(_NAME, "watts", _INTERVAL), read)


def _reader(rail: str, ask: Callable[[], float]) -> Callable[[], dict[str, float]]:
    def read() -> dict[str, float]:
        with _refusing(rail):
            return {rail: ask() / 1000}  # of millijoules, or milliwatts

    return read


def _gpus() -> Any:
    try:
        from zeus.device import get_gpus
    except ModuleNotFoundError as error:
        raise VirtualPoolError(
            f"NVML: the energy of GPUs is read by zeus, which is not here ({error}): "
            "pip install 'virtualpool[energy]'."
        ) from error
    return get_gpus()


@contextmanager
def _refusing(rail: str) -> Iterator[None]:
    try:
        yield
    except VirtualPoolError:
        raise
    # zeus has exceptions of many kinds, and NVML's go through it.
    except Exception as error:
        raise VirtualPoolError(
            f"NVML: zeus cannot read {rail} ({type(error).__name__}: {error})."
        ) from error
