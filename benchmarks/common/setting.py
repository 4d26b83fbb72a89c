"""The machine and the versions behind a benchmark's numbers, in one line."""

import datetime
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version

import torch

from virtualpool.measure.setting import device_name


def setting(threads: int, packages: Sequence[str]) -> str:
    """Date, machine, threads and versions, such as `2026-11-25, Intel Xeon, 2 threads, ...`."""
    return ", ".join(
        [
            datetime.date.today().isoformat(),
            device_name(torch.device("cpu")),
            "1 thread" if threads == 1 else f"{threads} threads",
            f"Python {platform.python_version()}",
            *(f"{package} {version(package)}" for package in packages),
        ]
    )


def command() -> str:
    """The command that runs this program, such as `python -m benchmarks.speed.gpu --batch 8`."""
    found = sys.modules["__main__"].__spec__
    assert found, "a benchmark is run by `python -m`"
    return shlex.join(["python", "-m", found.name, *sys.argv[1:]])
