"""`virtualpool tune`: the whole of the paper's Algorithm 1."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from virtualpool.cli import options
from virtualpool.cli.grouped import grouped
from virtualpool.cli.groups import Judged, Metering, Timing
from virtualpool.cli.terminal import progress, results, resumable, table
from virtualpool.cli.tuning import Recovery, Rounds

if TYPE_CHECKING:
    from virtualpool.cli.task import Task
    from virtualpool.measure import Latency
    from virtualpool.search import Frontier, Point

Compare = Literal["smaller-images"] | None


@grouped
def tune(
    judged: Judged,
    run_dir: Annotated[
        Path, typer.Option(help="Where the run lives; the same command again goes on with it.")
    ],
    rounds: Rounds,
    recovery: Recovery,
    timing: Timing,
    metering: Metering,
    compare: Annotated[
        Compare,
        typer.Option(
            help="Also fine-tune the network as it is on images of 3/4, 5/8 and 1/2 of the side, "
            "for as long as all rounds: what pooling has to beat."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a set of faster networks out of a trained one.

    Ranks the sites by the score that each costs, then pools and fine-tunes in rounds. A run that
    was stopped goes on when the same command is given again. It ends with a table and a report,
    RUN_DIR/report.html.
    """
    with results(as_json) as show:
        # What is wrong with these is said before images are loaded.
        schedule, energy = rounds.schedule(), metering.asked()
        opened = judged.opened(recovery.augment)
        frontier = _searched(
            judged,
            opened,
            recovery,
            run_dir=run_dir,
            rounds=schedule,
            max_drop=rounds.max_drop,
            latency=timing.latency(),
            energy=energy,
            compare=compare,
        )
        page = _reported(opened, run_dir)
        opened.say_skipped()
        show(frontier.to_json() | {"report": str(page)}, lambda: _print(frontier, run_dir, page))


def _searched(judged: Judged, opened: "Task", recovery: Recovery, **asked: Any) -> "Frontier":
    """Searches with what the options say; `asked` are arguments of `search` as they are."""
    from virtualpool.search import search

    with resumable(str(asked["run_dir"])), progress() as observer:
        return search(
            opened.module,
            opened.images,
            evaluate=opened.evaluator(recovery.mixed_precision),
            finetune=recovery.finetune(opened, judged.seed),
            **recovery.lengths(),
            settings={"model": judged.model, "weights": judged.weights}
            | opened.settings
            | recovery.settings(),
            seed=judged.seed,
            observer=observer,
            **asked,
        )


def _reported(opened: "Task", run_dir: Path) -> Path:
    """Writes the report of a run; of several processes the main one does."""
    from virtualpool import report
    from virtualpool.processes import is_main

    page = run_dir / "report.html"
    opened.illustrate(run_dir)
    if is_main():
        report.write(run_dir, page)
    return page


def _print(frontier: "Frontier", run_dir: Path, page: Path) -> None:
    from virtualpool.report.wording import measures

    points = (*frontier.points, *frontier.smaller)
    others = measures(points)
    has_energy = any(point.energy for point in frontier.points)
    best = [point.name for point in frontier.pareto]
    unit = frontier.unit
    rows = [
        [
            point.name + ("*" if point.name in best else ""),
            unit.number(point.accuracy) + unit.plus_minus(point.standard_error),
            *(unit.number(point.metrics[name]) for name in others),
            unit.number(point.drop) + unit.plus_minus(point.drop_standard_error)
            if point.weights
            else "",
            f"{point.latency.median_ms:.3g} ms",
            f"{point.latency.lower_ms:.3g} to {point.latency.upper_ms:.3g}",
            f"{point.speedup.median:.2f}x",
            *(_times(point, each) for each in (point.unfused, point.fused, point.half)),
            f"{point.macs / 1e6:,.1f}",
            *(_energy_cells(point) if has_energy else []),
            point.weights or "",
        ]
        for point in points
    ]
    per_cent = " %" if unit.percent else ""
    columns = [
        f">{unit.name}{per_cent}",
        *(f">{title}{per_cent}" for title in others.values()),
        ">drop",
        ">latency",
        ">quartiles",
        ">speed-up",
    ]
    columns += [">unfused", ">fused", ">half resolution", ">MMACs"]
    columns += [">J/image", ">of original"] if has_energy else []
    table(["model", *columns, f"file in {run_dir}"], rows)
    print("\n* no other model on whole images is both faster and better")
    print("speed-up: over the original, of the faster of a model's two forms, which its file gives")
    print("half resolution: the original on it, the practical limit; its score is not measured")
    if frontier.smaller or frontier.missing:
        _print_comparison(frontier)
    print(f"Timed interleaved with the original: {frontier.original.latency.setting}")
    if energy := frontier.original.energy:
        print(f"Energy interleaved with the original's: {energy.how}")
    if why := frontier.original.missing.get("energy"):
        print(f"Energy is not measured: {why}")
    print(f"Report: {page}")


def _print_comparison(frontier: "Frontier") -> None:
    from virtualpool.report.wording import beside_smaller

    print("smaller: the original on images of that part of the side, fine-tuned for as long")
    for name, reason in frontier.missing.items():
        print(f"{name} is not there: {reason}")
    print(beside_smaller(frontier))


def _energy_cells(point: "Point") -> list[str]:
    share = point.energy_share
    joules = f"{point.energy.median_j:.3g}" if point.energy else ""
    return [joules, f"{share.median:.0%}" if share else ""]


def _times(point: "Point", latency: "Latency | None") -> str:
    speedup = point.speedup_of(latency)
    return f"{speedup.median:.2f}x" if speedup else ""
