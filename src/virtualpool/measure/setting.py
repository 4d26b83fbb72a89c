"""The setting of a measurement: device, dtype, batch, threads, mode."""

import platform
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from virtualpool.schema import converted
from virtualpool.words import count


@dataclass(frozen=True)
class Setting:
    """Everything besides the model and the size of its inputs that a latency depends on.

    Attributes:
        device: a torch device, such as `cpu` or `cuda:0`.
        device_name: the processor's own name.
        dtype: the parameters' dtype, such as `float32`.
        batch: images per call.
        threads: torch's threads inside one operation.
        mode: `eager` or `compiled`.
        channels_last: whether maps and weights lie in memory with their channels last.
        torch: its version.

    >>> print(Setting("cpu", "Intel Xeon", "float32", 1, 2, "eager", True, "2.9.0"))
    cpu Intel Xeon, float32, batch 1, 2 threads, eager, channels_last
    """

    device: str
    device_name: str
    dtype: str
    batch: int
    threads: int
    mode: str
    channels_last: bool
    torch: str

    def __str__(self) -> str:
        threads = count(self.threads, "thread")
        layout = "channels_last" if self.channels_last else "contiguous"
        device = f"{self.device} {self.device_name}"
        return f"{device}, {self.dtype}, batch {self.batch}, {threads}, {self.mode}, {layout}"

    def differences(self, other: "Setting") -> list[str]:
        """The differences from `other`, one entry a field.

        >>> here = Setting("cpu", "Intel Xeon", "float32", 1, 2, "eager", True, "2.9.0")
        >>> here.differences(Setting("cpu", "Intel Xeon", "float32", 8, 2, "eager", True, "2.9.0"))
        ['batch 1 and 8']
        """
        names = [field.name for field in fields(self)]
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        return [f"{name} {mine} and {theirs}" for name, mine, theirs in pairs if mine != theirs]

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Setting":
        """The setting of a value of `to_json`; anything else is a `VirtualPoolError`."""
        return converted(value, cls)


def device_name(device: torch.device) -> str:
    """The processor's own name, such as `NVIDIA H100 80GB HBM3`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return _cpu_name()
    return device.type


def _cpu_name() -> str:
    # Linux knows the model's name; platform.processor() is empty there, and good elsewhere.
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
