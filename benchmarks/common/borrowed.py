"""Environments of their own for tools that are compared, on top of the one that runs this."""

import subprocess
import sysconfig
import venv
from pathlib import Path

from virtualpool.files import write_text

TORCH_PRUNING = "torch-pruning==1.6.1"
TORCHAO = "torchao==0.18.0"
TABULATE = "tabulate==0.10.0"
NNCF = ("nncf==3.4.0", "ninja==1.13.0", "pydot==4.0.1", TABULATE)
EXECUTORCH = ("executorch==1.5.1", TORCHAO, "ruamel.yaml==0.19.1", TABULATE)
"""With their other dependencies."""

_SITE_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"


def environment(path: Path, *requirements: str) -> Path:
    """The Python of an environment that has packages, made if it is not there.

    The packages' dependencies, torch above all, come from the environment that runs this: another
    torch would be gigabytes, and another speed. Missing ones have to be among them.

    Args:
        path: of the environment.
        requirements: the packages, as pip takes them.
    """
    python = path / "bin" / "python"
    installed = path / "installed"
    if not installed.exists():
        venv.create(path, with_pip=True, clear=True)
        found = subprocess.run([python, "-c", _SITE_PACKAGES], check=True, capture_output=True)
        here, there = sysconfig.get_path("purelib"), Path(found.stdout.decode().strip())
        write_text(there / "from_outside.pth", f"import site; site.addsitedir({here!r})\n")
        pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", *requirements]
        subprocess.run(pip, check=True)
        installed.touch()
    return python


def run(python: Path, program: str, *arguments: object) -> None:
    """Runs a program of the benchmarks in an environment.

    Args:
        python: of the environment.
        program: its module, such as `benchmarks.accuracy.prune`.
        arguments: its arguments.
    """
    subprocess.run([python, "-m", program, *map(str, arguments)], check=True)
