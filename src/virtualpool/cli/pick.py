"""`virtualpool pick`: the model of a run that is best within limits."""

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtualpool.cli import options
from virtualpool.cli.picked import instead_of_original
from virtualpool.cli.terminal import messages, results
from virtualpool.errors import VirtualPoolError
from virtualpool.files import replacing

if TYPE_CHECKING:
    from virtualpool.report.record import Record
    from virtualpool.search import Frontier, Point


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
    point: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model of this name, such as round-02.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to copy the model's .safetensors file.")
    ] = None,
    cascade: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Save a cascade of a model and the original there: of all images, no more than "
            "--max-drop are lost (0 if not given), by the run's test images.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Pick a run's best model within limits, and copy its file.

    The fastest one where --max-drop is given, else the most accurate one; or the one that --point
    names.
    """
    if cascade is not None:
        if any(each is not None for each in (min_speedup, max_latency_ms, point, output)):
            raise typer.BadParameter("of the limits and files, --cascade takes --max-drop alone.")
        _save_cascade(run_dir, cascade, max_drop or 0.0, as_json)
        return
    has_limit = any(each is not None for each in (max_drop, min_speedup, max_latency_ms))
    if has_limit == (point is not None):
        raise typer.BadParameter(
            "give --max-drop, --min-speedup or --max-latency-ms; or --point alone."
        )
    with results(as_json) as show:
        run, frontier = _read(run_dir)
        original = frontier.original.accuracy
        if max_drop is not None and max_drop > 0 and 0 <= original <= max_drop:
            messages().print(
                f"--max-drop {max_drop:g} allows any model, for the original has {original:.4g}: "
                "one point of an accuracy is 0.01."
            )
        picked = (
            frontier.named(point)
            if point is not None
            else frontier.pick(
                max_drop=max_drop, min_speedup=min_speedup, max_latency_ms=max_latency_ms
            )
        )
        file = None if picked.weights is None else run_dir / picked.weights
        if output is not None:
            file = _copied(file, output, frontier)
        value = picked.to_json() | {"file": file and str(file)}
        show(value, lambda: _say(run, picked, file))


def _say(run: "Record", picked: "Point", file: Path | None) -> None:
    """Prints a model, and the two lines that load and export it."""
    print(picked)
    if file is None:
        print("the original, with its own weights")
        return
    print(f"load it:   fast = virtualpool.load(model, {str(file)!r}).eval()")
    asked = [run.settings.get("model", "MODEL"), str(file), "--output", f"{picked.name}.onnx"]
    if run.settings.get("task") == "detection" and (weights := run.settings.get("weights")):
        asked += ["--weights", weights]
    print(f"export it: {shlex.join(['virtualpool', 'export', *asked])}")
    print(file)


def _read(run_dir: Path) -> "tuple[Record, Frontier]":
    """A run and its models, of which there is one at least."""
    from virtualpool.report import record

    run = record.read(run_dir)
    if run.frontier is None:
        raise VirtualPoolError(f"{run_dir}: no model is measured yet; go on with the run first.")
    if not run.finished:
        messages().print(f"{run_dir} is not finished: this is the best of its models so far.")
    return run, run.frontier


def _save_cascade(run_dir: Path, folder: Path, max_drop: float, as_json: bool) -> None:
    with results(as_json) as show:
        from virtualpool.cli.cascading import cascade_of

        made = cascade_of(*_read(run_dir), max_drop)
        made.save(folder)
        show(made.to_json() | {"folder": str(folder)}, lambda: print(f"{made}\n{folder}"))


def _copied(file: Path | None, output: Path, frontier: "Frontier") -> Path:
    if file is None:
        raise VirtualPoolError(
            "Within these limits the original is the best, and there is no file to copy; "
            f"{instead_of_original(frontier)}."
        )
    if not file.is_file():
        raise VirtualPoolError(
            f"{file}: the model's file is gone; run the command of the run again."
        )
    with replacing(output) as beside:
        shutil.copyfile(file, beside)
    return output
