"""`virtualpool tune`: the whole of the paper's Algorithm 1."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from virtualpool.cli import options
from virtualpool.cli.terminal import progress, results, resumable, table

if TYPE_CHECKING:
    from virtualpool.measure import Latency
    from virtualpool.search import Frontier, Point

_ROUNDS = "Rounds"
_RECOVERY = "Recovery"


def tune(
    model: options.Model,
    data: options.Data,
    run_dir: Annotated[
        Path, typer.Option(help="Where the run lives; the same command again goes on with it.")
    ],
    weights: options.Weights = None,
    task: options.Task = "classification",
    metric: options.Metric = "voc",
    rounds: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=_ROUNDS, help="Rounds of equal size (default: 3)."),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(metavar="3,3,3", rich_help_panel=_ROUNDS, help="Sites that each round adds."),
    ] = None,
    thresholds: Annotated[
        str | None,
        typer.Option(
            metavar=".01,.05", rich_help_panel=_ROUNDS, help="Drop up to which a round takes sites."
        ),
    ] = None,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", rich_help_panel=_ROUNDS, help="One site a round.")
    ] = False,
    by_time: Annotated[
        bool,
        typer.Option(
            "--by-time",
            rich_help_panel=_ROUNDS,
            help="First the sites that save most time for the score that they cost.",
        ),
    ] = False,
    rounds_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:KEY]", rich_help_panel=_ROUNDS, help="JSON: the sites of each round."
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_ROUNDS,
            help="Stop after a round that loses more; 0.01 is one point of an accuracy.",
        ),
    ] = None,
    compare: Annotated[
        Literal["smaller-images"] | None,
        typer.Option(
            help="Also fine-tune the network as it is on images of 3/4, 5/8 and 1/2 of the side, "
            "for as long as all rounds: what pooling has to beat."
        ),
    ] = None,
    recover: Annotated[
        Literal["labels", "distillation", "both", "recalibration", "none"],
        typer.Option(
            rich_help_panel=_RECOVERY,
            help="Fine-tune by labels, by the original's outputs, or both; or only measure batch "
            "norm anew.",
        ),
    ] = "labels",
    site_weight: Annotated[
        float,
        typer.Option(
            min=0,
            rich_help_panel=_RECOVERY,
            help="Weight of the pooled sites' maps in distillation; 0 leaves them out.",
        ),
    ] = 40.0,
    epochs: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_RECOVERY,
            help="Of each round; one number or one a round (default: 5).",
        ),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_RECOVERY,
            help="Steps of the optimizer in each round, in place of --epochs; one number or one "
            "a round.",
        ),
    ] = None,
    learning_rate: Annotated[
        str,
        typer.Option(rich_help_panel=_RECOVERY, help="At first; one number or one a round."),
    ] = "0.001",
    optimizer: Annotated[
        Literal["sgd", "adamw"], typer.Option(rich_help_panel=_RECOVERY, help="What trains.")
    ] = "sgd",
    schedule: Annotated[
        Literal["paper", "cosine"],
        typer.Option(
            rich_help_panel=_RECOVERY, help="Learning rate in steps down by ten, or a half wave."
        ),
    ] = "paper",
    drop_steps: Annotated[
        str | None,
        typer.Option(
            metavar="30000,45000",
            rich_help_panel=_RECOVERY,
            help="After which steps of a round the paper's schedule steps down (default: after "
            "each third).",
        ),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_RECOVERY, help="Average the weights with this decay, such as 0.999."
        ),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_RECOVERY, help="Shorten longer gradients to this norm, such as 1."
        ),
    ] = None,
    mixed_precision: Annotated[
        Literal["no", "bf16", "fp16"],
        typer.Option(rich_help_panel=_RECOVERY, help="Of fine-tuning and evaluation."),
    ] = "no",
    size: options.Size = None,
    resize: options.Resize = None,
    mean: options.Mean = None,
    std: options.Std = None,
    augment: options.Augment = None,
    subset: options.Subset = None,
    batch_size: options.BatchSize = None,
    workers: options.Workers = 2,
    mode: options.Mode = "eager",
    threads: options.Threads = None,
    timing_batch: options.TimingBatch = 1,
    dtype: options.Dtype = "float32",
    channels_last: options.ChannelsLast = True,
    repeats: options.Repeats = 15,
    energy: options.Energy = False,
    energy_from: options.EnergyFrom = None,
    energy_unit: options.EnergyUnit = "W",
    energy_interval: options.EnergyInterval = 1.0,
    energy_idle: options.EnergyIdle = "include",
    energy_repeats: options.EnergyRepeats = 5,
    seed: options.Seed = 0,
    device: options.Device = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a set of faster networks out of a trained one.

    Ranks the sites by the score that each costs, then pools and fine-tunes in rounds. A run that
    was stopped goes on when the same command is given again. It ends with a table and a report,
    RUN_DIR/report.html.
    """
    with results(as_json) as show:
        from virtualpool import report
        from virtualpool.cli import recovery
        from virtualpool.cli.data import Preparation
        from virtualpool.cli.energy import asked
        from virtualpool.cli.rounds import length, one_or_each, whole_numbers
        from virtualpool.cli.rounds import schedule as schedule_of
        from virtualpool.cli.task import open_task
        from virtualpool.processes import is_main
        from virtualpool.search import search

        made_by = schedule_of(
            rounds=rounds,
            sizes=sizes,
            thresholds=thresholds,
            per_layer=per_layer,
            by_time=by_time,
            rounds_file=rounds_file,
        )
        energy_options = asked(
            energy, energy_from, energy_unit, energy_interval, energy_idle, energy_repeats
        )
        opened = open_task(
            model,
            weights,
            data,
            Preparation(size, resize, mean, std, augment),
            task=task,
            metric=metric,
            device=device,
            batch_size=batch_size,
            subset=subset,
            workers=workers,
            seed=seed,
        )
        training: dict[str, Any] = {
            "optimizer": optimizer,
            "schedule": schedule,
            "drop_steps": drop_steps and tuple(whole_numbers(drop_steps, "--drop-steps")),
            "ema": ema,
            "clip": clip,
            "mixed_precision": mixed_precision,
        }
        with resumable(str(run_dir)), progress() as observer:
            finetune = None
            if recover != "none":
                finetune = recovery.finetune(
                    recover,
                    task,
                    opened.module,
                    opened.training_batches,
                    sites=site_weight,
                    **training,
                    seed=seed,
                )
            frontier = search(
                opened.module,
                opened.images,
                evaluate=opened.evaluator(mixed_precision),
                finetune=finetune,
                rounds=made_by,
                run_dir=run_dir,
                learning_rates=one_or_each(learning_rate, "--learning-rate"),
                **length(epochs, steps),
                max_drop=max_drop,
                latency={
                    "mode": mode,
                    "threads": threads,
                    "batch": timing_batch,
                    "dtype": dtype,
                    "channels_last": channels_last,
                    "repeats": repeats,
                },
                energy=energy_options,
                compare=compare,
                settings={
                    "model": model,
                    "weights": weights,
                    **opened.settings,
                    "recovery": recover,
                    "site weight": site_weight,
                    "training": training,
                },
                seed=seed,
                observer=observer,
            )
            opened.illustrate(run_dir)
            page = run_dir / "report.html"
            if is_main():
                report.write(run_dir, page)
        opened.say_skipped()
        show(frontier.to_json() | {"report": str(page)}, lambda: _print(frontier, run_dir, page))


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
