"""`virtualpool pick`: the model of a run that is best within limits."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from virtualpool.cli import options
from virtualpool.cli.terminal import messages, results
from virtualpool.errors import VirtualPoolError
from virtualpool.files import replacing


def pick(
    run_dir: options.RunDirectory,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Largest drop of the score; 0.01 is one point of an accuracy."),
    ] = None,
    min_speedup: Annotated[
        float | None, typer.Option(help="Least speedup over the original.")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Most milliseconds of a call, by the median.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to copy the model's .safetensors file.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Pick a run's best model within limits, and copy its file.

    The fastest one where --max-drop is given, else the most accurate one.
    """
    if max_drop is None and min_speedup is None and max_latency_ms is None:
        raise typer.BadParameter("give --max-drop, --min-speedup or --max-latency-ms.")
    with results(as_json) as show:
        from virtualpool.report import record

        run = record.read(run_dir)
        if run.frontier is None:
            raise VirtualPoolError(
                f"{run_dir}: no model is measured yet; go on with the run first."
            )
        if not run.finished:
            messages().print(f"{run_dir} is not finished: this is the best of its models so far.")
        original = run.frontier.original.accuracy
        if max_drop is not None and max_drop > 0 and 0 <= original <= max_drop:
            messages().print(
                f"--max-drop {max_drop:g} allows any model, for the original has {original:.4g}: "
                "one point of an accuracy is 0.01."
            )
        point = run.frontier.pick(
            max_drop=max_drop, min_speedup=min_speedup, max_latency_ms=max_latency_ms
        )
        file = None if point.weights is None else run_dir / point.weights
        if output is not None:
            file = _copied(file, output)
        value = point.to_json() | {"file": file and str(file)}
        show(value, lambda: print(f"{point}\n{file or 'the original, with its own weights'}"))


def _copied(file: Path | None, output: Path) -> Path:
    if file is None:
        raise VirtualPoolError(
            "Within these limits the original is the best, and there is no file to copy; allow a "
            "larger drop."
        )
    if not file.is_file():
        raise VirtualPoolError(
            f"{file}: the model's file is gone; run the command of the run again."
        )
    with replacing(output) as beside:
        shutil.copyfile(file, beside)
    return output
