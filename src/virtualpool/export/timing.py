"""The latency of a file and of the original's, interleaved in one runtime."""

from typing import Any

import torch

from virtualpool.export.format import Ready
from virtualpool.graph.inputs import batch_size
from virtualpool.measure.latency import Latency
from virtualpool.measure.setting import Setting, device_name
from virtualpool.measure.timing import interleaved

_REPEATS = 15


def timed(files: dict[str, Ready], inputs: Any, threads: int, how: str) -> dict[str, Latency]:
    """Times files side by side, on inputs that are ready.

    Args:
        files: in their runtime, by name.
        inputs: for all of them.
        threads: that the runtime has.
        how: the runtime and the precision, for people.
    """
    cpu = torch.device("cpu")
    setting = Setting(
        device="cpu",
        device_name=device_name(cpu),
        dtype="float32",
        batch=batch_size(inputs),
        threads=threads,
        mode=how,
        channels_last=False,
        torch=torch.__version__,
    )
    runs = [ready(inputs) for ready in files.values()]
    samples = interleaved(runs, cpu, _REPEATS, duration_s=3.0)
    return {name: Latency(each, setting) for name, each in zip(files, samples, strict=True)}
