"""The latency of a file and of the original's, interleaved in one runtime."""

from collections.abc import Callable
from typing import Any

import torch

from virtualpool.measure.latency import Latency
from virtualpool.measure.setting import Setting, device_name
from virtualpool.measure.timing import interleaved

_REPEATS = 15


def timed(
    files: dict[str, Callable[[], Any]], batch: int, threads: int, how: str
) -> dict[str, Latency]:
    """Times files side by side, on inputs that are ready.

    Args:
        files: the calls of each in its runtime, by name.
        batch: the number of images in a call.
        threads: that the runtime has.
        how: the runtime and the precision, for people.
    """
    cpu = torch.device("cpu")
    setting = Setting(
        device="cpu",
        device_name=device_name(cpu),
        dtype="float32",
        batch=batch,
        threads=threads,
        mode=how,
        channels_last=False,
        torch=torch.__version__,
    )
    samples = interleaved([*files.values()], cpu, _REPEATS, duration_s=3.0)
    return {name: Latency(each, setting) for name, each in zip(files, samples, strict=True)}
