"""`virtualpool pick`: the model of a run that is best within limits."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from virtualpool.cli import options
from virtualpool.cli.terminal import results
from virtualpool.files import replacing


def pick(
    run_dir: options.RunDirectory,
    max_drop: Annotated[
        float | None, typer.Option(help="Accuracy that may be lost; 0.01 is one point.")
    ] = None,
    min_speedup: Annotated[
        float | None, typer.Option(help="Times that it must be faster than the original.")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Milliseconds that it may take, by the median.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to copy the model's .safetensors file.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Pick the model of a run that is best within limits, and copy it where it is wanted.

    The fastest one where --max-drop is given, else the most accurate one.
    """
    with results(as_json) as show:
        from virtualpool.errors import VirtualPoolError
        from virtualpool.search import Frontier

        frontier = Frontier.load(run_dir)
        point = frontier.pick(
            max_drop=max_drop, min_speedup=min_speedup, max_latency_ms=max_latency_ms
        )
        file = None if point.weights is None else run_dir / point.weights
        if output is not None:
            if file is None:
                raise VirtualPoolError(
                    "Within these limits the original is the best; there is no file to copy. "
                    "Allow a larger drop."
                )
            with replacing(output) as beside:
                shutil.copyfile(file, beside)
            file = output
        value = point.to_json() | {"file": file and str(file)}
        show(value, lambda: print(f"{point}\n{file or 'the original, with its own weights'}"))
