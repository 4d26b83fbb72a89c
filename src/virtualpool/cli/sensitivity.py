"""`virtualpool sensitivity`: the cost of each site when it alone is pooled."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtualpool.cli import options
from virtualpool.cli.grouped import grouped
from virtualpool.cli.groups import Judged
from virtualpool.cli.terminal import Columns, progress, results, resumable, table_of

if TYPE_CHECKING:
    from virtualpool.cli.task import Task
    from virtualpool.plan import Border
    from virtualpool.search import Sensitivity
    from virtualpool.search.sensitivity import SiteSensitivity

_RECALIBRATION_BATCHES = 50


@grouped
def sensitivity(
    judged: Judged,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Measure batch norm anew before each evaluation.")
    ] = False,
    recoverable: options.Recoverable = False,
    border: options.Border = "exact",
    output: Annotated[
        Path | None,
        typer.Option(help="A JSON file, written after each site; a second start goes on from it."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Rank the sites of a network by their loss of score, each pooled alone."""
    with results(as_json) as show:
        from virtualpool.cli.recovery import few_images_for

        opened = judged.opened()
        few = few_images_for(opened, judged.seed) if recoverable else None
        found = _ranked(opened, recalibrate, few, output, border)
        opened.say_skipped()
        show(found.to_json(), lambda: _print(found))


def _ranked(
    opened: "Task",
    recalibrate: bool,
    recoverable: Any,
    output: Path | None,
    border: "Border",
) -> "Sensitivity":
    from virtualpool.search import by_recalibration, sensitivity

    renew = None
    if recalibrate:
        renew = by_recalibration(opened.training_batches, batch_count=_RECALIBRATION_BATCHES)
    kept = f"{output} with the sites so far" if output else "Nothing (see --output)"
    with resumable(kept), progress() as observer:
        found = sensitivity(
            opened.module,
            opened.images,
            opened.evaluator(),
            recalibrate=renew,
            recoverable=recoverable,
            border=border,
            path=output,
            observer=observer,
        )
    return replace(found, baseline=found.baseline.summary)


def _print(found: "Sensitivity") -> None:
    solved = any(site.recoverable_drop is not None for site in found.sites)
    table_of([*_COLUMNS, *(_RECOVERABLE if solved else ())], found.sites)
    samples = f" on {found.baseline.samples:,} images" if found.baseline.samples else ""
    unit = f" {found.baseline.unit.name}" if found.baseline.unit else ""
    print(f"\nUnmodified: {found.baseline}{unit}{samples}; {found.method}.")


def _written(error: float | None) -> str:
    return "" if error is None else f"± {error:.4f}"


_COLUMNS: "Columns[SiteSensitivity]" = [
    ("site", lambda site: site.name),
    (">score", lambda site: f"{site.score:.4f}"),
    (">drop", lambda site: f"{site.drop:+.4f}"),
    (">error", lambda site: _written(site.standard_error)),
    ("before pool", lambda site: "yes" if site.before_pool else ""),
    (">MMACs", lambda site: f"{site.macs / 1e6:,.1f}"),
]
_RECOVERABLE: "Columns[SiteSensitivity]" = [
    (">recoverable drop", lambda site: f"{site.cost:+.4f}"),
    (">error", lambda site: _written(site.cost_error)),
]
