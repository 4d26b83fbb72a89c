"""A format: how a network is written in it, and how its runtime runs the file."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from torch import nn

from virtualpool.errors import VirtualPoolError

Precision = Literal["float32", "float16", "int8"]
OpenAxes = Literal["none", "batch", "all"]
Run = Callable[[], Any]
Ready = Callable[[Any], Run]
"""A file in its runtime: of inputs, a function of nothing that runs it on them."""


@dataclass(frozen=True)
class Request:
    """A network as it is to be written.

    Attributes:
        model: on the CPU, in eval mode.
        inputs: example inputs; see `virtualpool.graph.inputs`.
        open_axes: the axes of the inputs that stay open.
        precision: of the file.
        calibration: inputs for int8.
    """

    model: nn.Module
    inputs: Any
    open_axes: OpenAxes = "none"
    precision: Precision = "float32"
    calibration: Sequence[Any] = ()


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        name: for `format`.
        suffix: of its files, with the dot.
        title: for people.
        runtime: the runtime that runs it here, for people.
        write: writes a request to a path; gives its operators with their numbers.
        ready: opens a file in the runtime, with a number of threads.
        packages: distributions whose versions the file depends on, besides torch; each is imported
            by its own name.
        quantising: packages that int8 needs besides.
        extra: of virtualpool, that installs them.
        precisions: the ones that it has.
        open_axes: the ones that it can leave open.
        beside: suffixes of further files that `write` makes.
        cannot_run: why the runtime is not on this machine, if so.
        hint: the next step for a file, with the request that it was written of.
    """

    name: str
    suffix: str
    title: str
    runtime: str
    write: Callable[[Request, Path], Counter[str]]
    ready: Callable[[Path, int], Ready]
    packages: tuple[str, ...] = ()
    quantising: tuple[str, ...] = ()
    extra: str = ""
    precisions: tuple[Precision, ...] = ("float32",)
    open_axes: tuple[OpenAxes, ...] = ("none",)
    beside: tuple[str, ...] = ()
    cannot_run: str = ""
    hint: Callable[[Request, Path], str] = lambda request, path: ""

    def check(self, precision: str, open_axes: str) -> None:
        """Refuses a precision or open axes that the format lacks, and packages that are missing.

        Raises:
            VirtualPoolError: which one, and what there is.
        """
        asked = (
            ("precision", precision, self.precisions),
            ("open_axes", open_axes, self.open_axes),
        )
        for name, value, known in asked:
            if value not in known:
                raise VirtualPoolError(
                    f"{self.title} is not written with {name}={value!r}. There "
                    f"{'are' if len(known) > 1 else 'is'} {', '.join(map(repr, known))}; or "
                    "choose another format."
                )
        needed = self.packages + (self.quantising if precision == "int8" else ())
        if missing := [package for package in needed if find_spec(package) is None]:
            raise VirtualPoolError(
                f"{self.title} needs {', '.join(missing)}. Install it by: pip install "
                f"'virtualpool[{self.extra}]'."
            )
