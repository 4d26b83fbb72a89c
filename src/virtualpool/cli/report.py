"""`virtualpool report`: a run as a page."""

from pathlib import Path
from typing import Annotated

import typer

from virtualpool.cli import options
from virtualpool.cli.terminal import results


def report(
    run_dir: options.RunDirectory,
    output: Annotated[
        Path | None, typer.Option(help="The page to write; report.html in the run's directory.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a run, finished or not, as one HTML page that needs no network."""
    with results(as_json) as show:
        from virtualpool import report as pages

        path = output or run_dir / "report.html"
        pages.write(run_dir, path)
        show({"report": str(path)}, lambda: print(path))
