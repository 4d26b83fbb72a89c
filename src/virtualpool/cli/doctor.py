"""`virtualpool doctor`: the versions, devices, sensors and extras of this machine."""

import re
import shutil
from collections.abc import Iterator
from importlib import metadata

from virtualpool.cli import options
from virtualpool.cli.terminal import results, table
from virtualpool.words import count

Finding = tuple[str, str, str]
"""A subject, the value found, and the next step if something is missing."""

_EXTRA = re.compile(r"""^([A-Za-z0-9_.-]+).*extra == ["']([a-z]+)["']""")
_OF_DEVELOPERS = ("dev", "benchmarks", "docs", "examples")


def doctor(as_json: options.AsJson = False) -> None:
    """Show what this machine can do: versions, devices, compiler, energy sensors, extras."""
    with results(as_json) as show:
        found = [*_versions(), *_devices(), _compiler(), _energy(), *_extras()]
        rows = [
            {"subject": subject, "found": value, "hint": hint} for subject, value, hint in found
        ]
        show(rows, lambda: table(["subject", "found, and the next step"], _cells(found)))


def _cells(found: list[Finding]) -> list[tuple[str, str]]:
    """Each next step below its finding: beside it, a line would be wider than a terminal."""
    return [(subject, f"{value}\n  {hint}" if hint else value) for subject, value, hint in found]


def _versions() -> Iterator[Finding]:
    import platform

    yield "Python", platform.python_version(), ""
    for package in ("virtualpool", "torch", "torchvision"):
        yield package, metadata.version(package), ""


def _devices() -> Iterator[Finding]:
    import torch

    from virtualpool.measure.setting import device_name

    threads = count(torch.get_num_threads(), "thread")
    yield "processor", f"{device_name(torch.device('cpu'))}, {threads} of torch", ""
    for index in range(torch.cuda.device_count()):
        yield "GPU", device_name(torch.device("cuda", index)), ""
    if not torch.cuda.is_available():
        yield "GPU", "none that PyTorch can use", ""


def _compiler() -> Finding:
    found = next(filter(None, map(shutil.which, ("c++", "g++", "clang++", "cl"))), None)
    hint = "" if found else "install one for --mode compiled; eager works without"
    return "C++ compiler", found or "none", hint


def _energy() -> Finding:
    import torch

    from virtualpool.errors import VirtualPoolError
    from virtualpool.measure.energy.finding import meter_of

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return "energy sensor", meter_of(device).sensor.name, ""
    except VirtualPoolError:
        return "energy sensor", "none", "name a meter of your own by --energy-from"


def _extras() -> Iterator[Finding]:
    packages: dict[str, list[str]] = {}
    for requirement in metadata.requires("virtualpool") or ():
        if parts := _EXTRA.match(requirement):
            packages.setdefault(parts[2], []).append(parts[1])
    for extra, names in sorted(packages.items()):
        if extra in _OF_DEVELOPERS:
            continue
        versions = {name: _version(name) for name in names}
        missing = [name for name, version in versions.items() if version is None]
        found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        hint = f"pip install 'virtualpool[{extra}]'" if missing else ""
        yield f"extra {extra}", found or "not installed", hint


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
