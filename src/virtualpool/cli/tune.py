"""`virtualpool tune`: a search for a target, or the whole of the paper's Algorithm 1."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from virtualpool.cli import options
from virtualpool.cli.grouped import grouped
from virtualpool.cli.groups import Judged, Metering, Timing
from virtualpool.cli.picked import exported, formats_of
from virtualpool.cli.targets import Targets
from virtualpool.cli.terminal import Columns, progress, results, resumable, table_of
from virtualpool.cli.tuning import Recovery, Rounds

if TYPE_CHECKING:
    from virtualpool.cli.task import Task
    from virtualpool.export import ExportReport
    from virtualpool.measure import Latency
    from virtualpool.search import Frontier, Point

Compare = Literal["smaller-images"] | None


@grouped
def tune(
    judged: Judged,
    run_dir: Annotated[Path, typer.Option(help="Directory of the run.")],
    targets: Targets,
    rounds: Rounds,
    recovery: Recovery,
    timing: Timing,
    metering: Metering,
    compare: Annotated[
        Compare,
        typer.Option(
            help="Of rounds: also fine-tune the network as it is on images of 3/4, 5/8 and 1/2 of "
            "the side, for as long as all rounds: pooling has to beat it."
        ),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT,FORMAT",
            help="At the end, export the network of --max-drop, as to onnx.",
        ),
    ] = None,
    at_chance: Annotated[
        bool,
        typer.Option("--at-chance", help="Go on with a network that knows no more than chance."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how the command is understood, and do nothing.")
    ] = False,
    wide: Annotated[
        bool, typer.Option("--wide", help="Print all columns of the table, and not the main ones.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Make a set of faster networks out of a trained one.

    Chooses plans for a target by itself, or pools in rounds where one of their options is given
    (--help-all). Stopped, it goes on with the same command. It ends with RUN_DIR/report.html.
    """
    with results(as_json) as show:
        # Mistakes in these are reported before images are loaded.
        recovery.check()
        asked = _asked(targets, rounds, recovery, compare)
        energy, formats = metering.asked(), formats_of(export)
        opened = judged.opened(recovery.augment)
        if dry_run:
            dry = {
                "understood": opened.understood | {"to do": _to_do(asked)},
                "search": {
                    name: value.to_json() if hasattr(value, "to_json") else value
                    for name, value in asked.items()
                },
                "settings": _settings(judged, opened, recovery),
            }
            show(dry, lambda: print(f"to do: {_to_do(asked)}"))
            return
        frontier = _searched(
            judged,
            opened,
            recovery,
            at_chance=at_chance,
            few=rounds.recoverable,
            run_dir=run_dir,
            border=rounds.border,
            latency=timing.latency(),
            energy=energy,
            **asked,
        )
        page = _reported(opened, run_dir)
        files = exported(frontier, opened, run_dir, formats, rounds.max_drop)
        opened.say_skipped()
        show(
            frontier.to_json()
            | {"report": str(page), "exported": [each.to_json() for each in files]},
            lambda: _print(frontier, page, files, wide),
        )


def _asked(
    targets: Targets, rounds: Rounds, recovery: Recovery, compare: Compare
) -> dict[str, Any]:
    """The arguments of `search` that are for a target, or for rounds."""
    from virtualpool.cli.recovery import NONE

    of_rounds = [*rounds.given, *(["--compare"] if compare else [])]
    if of_rounds:
        if targets.given:
            raise typer.BadParameter(
                f"{targets.given[0]} is for a target, and {of_rounds[0]} for rounds; they cannot "
                "be given together."
            )
        return {"rounds": rounds.schedule(), "max_drop": rounds.max_drop, "compare": compare}
    if recovery.recover == NONE:
        raise typer.BadParameter(
            f"--recover {NONE}: a target reconstructs its networks. Give --rounds 3 to pool "
            "without that, or --recover reconstruction for nothing more than that."
        )
    return targets.arguments(rounds.max_drop)


def _to_do(asked: dict[str, Any]) -> str:
    """What a run would do, in words."""
    if "target" in asked:
        from virtualpool.search.planning.budget import within

        what, when = asked["target"], within(asked["budget"])
        return f"find, recover and time at most {what}{when}"
    return f"pool and fine-tune in rounds: {asked['rounds']}"


def _settings(judged: Judged, opened: "Task", recovery: Recovery) -> dict[str, Any]:
    """The options that must be the same when a run goes on, besides the arguments of `search`."""
    named = {"model": judged.model, "weights": judged.weights}
    return named | opened.settings | recovery.settings()


def _searched(
    judged: Judged,
    opened: "Task",
    recovery: Recovery,
    *,
    at_chance: bool,
    few: bool,
    **asked: Any,
) -> "Frontier":
    """Searches with the options; `asked` are arguments of `search` as they are."""
    from virtualpool.cli.chance import chance_in, not_at_chance
    from virtualpool.cli.recovery import few_images_for, images_for
    from virtualpool.search import search

    evaluate = opened.evaluator(recovery.mixed_precision)
    if opened.labels and not at_chance:
        evaluate = not_at_chance(evaluate, chance_in(opened.data))
    recoverable = few_images_for(opened, judged.seed) if few else None
    if has_target := "target" in asked:
        recoverable = images_for(opened, recovery.reconstruction_images, judged.seed)
    with resumable(str(asked["run_dir"])), progress() as observer:
        return search(
            opened.module,
            opened.images,
            evaluate=evaluate,
            finetune=recovery.finetune(opened, judged.seed, reconstructed=has_target),
            **recovery.lengths(),
            recoverable=recoverable,
            settings=_settings(judged, opened, recovery),
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


def _print(frontier: "Frontier", page: Path, files: "list[ExportReport]", wide: bool) -> None:
    table_of(_columns(frontier, wide), (*frontier.points, *frontier.smaller))
    print()
    print(*_notes(frontier, wide), *files, f"Report: {page}", sep="\n")
    if any(point.weights for point in frontier.points):
        limit = f"--max-drop {frontier.unit.small_drop:g} --output fast.safetensors"
        print(f"Pick a model: {shlex.join(['virtualpool', 'pick', str(page.parent)])} {limit}")


def _columns(frontier: "Frontier", wide: bool) -> "Columns[Point]":
    """The columns of the table: those that fit a terminal of 80 characters, or all."""
    from virtualpool.report.wording import measures

    best, unit = [point.name for point in frontier.pareto], frontier.unit
    per_cent = " %" if unit.percent else ""
    others = measures((*frontier.points, *frontier.smaller)) if wide else {}

    def of_metric(name: str) -> "Callable[[Point], str]":
        return lambda point: unit.number(point.metrics[name])

    def score(point: "Point") -> str:
        return unit.number(point.accuracy) + unit.plus_minus(point.standard_error)

    def drop(point: "Point") -> str:
        drop = unit.number(point.drop) + unit.plus_minus(point.drop_standard_error)
        return drop if point.weights else ""

    has_energy = any(point.energy for point in frontier.points)
    return [
        ("model", lambda point: point.name + ("*" if point.name in best else "")),
        (f">{unit.name}{per_cent}", score),
        *((f">{title}{per_cent}", of_metric(name)) for name, title in others.items()),
        (">drop", drop),
        *(_EVERY_TIME if wide else [_SPEED]),
        *(_ENERGY if has_energy else []),
        ("file", lambda point: point.weights or ""),
    ]


def _times(point: "Point", latency: "Latency | None") -> str:
    speedup = point.speedup_of(latency)
    return f"{speedup.median:.2f}x" if speedup else ""


def _share(point: "Point") -> str:
    return f"{point.energy_share.median:.0%}" if point.energy_share else ""


_SPEED: "tuple[str, Callable[[Point], str]]" = (
    ">speed-up",
    lambda point: f"{point.speedup.median:.2f}x",
)
_EVERY_TIME: "Columns[Point]" = [
    (">latency", lambda point: f"{point.latency.median_ms:.3g} ms"),
    (">quartiles", lambda point: f"{point.latency.lower_ms:.3g} to {point.latency.upper_ms:.3g}"),
    _SPEED,
    (">unfused", lambda point: _times(point, point.unfused)),
    (">fused", lambda point: _times(point, point.fused)),
    (">half resolution", lambda point: _times(point, point.half_resolution)),
    (">MMACs", lambda point: f"{point.macs / 1e6:,.1f}"),
]
_ENERGY: "Columns[Point]" = [
    (">J/image", lambda point: f"{point.energy.median_j:.3g}" if point.energy else ""),
    (">of original", _share),
]


def _notes(frontier: "Frontier", wide: bool) -> Iterator[str]:
    """The notes below the table, a line each."""
    from virtualpool.report.wording import beside_smaller, noise

    yield "* no other model on whole images is both faster and better"
    yield "speed-up: over the original, of the faster of a model's two forms, which its file gives"
    if wide:
        yield "half resolution: the original on it, the practical limit; its score is not measured"
    elif half := frontier.half_resolution:
        yield f"half resolution: {half.median:.2f}x, the practical limit; its score is not measured"
    if frontier.smaller or frontier.missing:
        yield "smaller: the original on images of that part of the side, fine-tuned for as long"
        for name, reason in frontier.missing.items():
            yield f"{name} is not there: {reason}"
        yield beside_smaller(frontier)
    yield f"Timed interleaved with the original: {frontier.original.latency.setting}"
    if said := noise((*frontier.points, *frontier.smaller)):
        yield said
    if not wide:
        yield "--wide shows all columns; files are relative to the run's directory"
    if energy := frontier.original.energy:
        yield f"Energy interleaved with the original's: {energy.how}"
    if why := frontier.original.missing.get("energy"):
        yield f"Energy is not measured: {why}"
