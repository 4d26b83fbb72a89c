"""`virtualpool bench`: time networks side by side, unfused and fused, and beside their limit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtualpool.cli import options
from virtualpool.cli.grouped import grouped
from virtualpool.cli.groups import Metering, Timing
from virtualpool.cli.terminal import Columns, messages, results, table_of
from virtualpool.errors import VirtualPoolError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from virtualpool.fuse import Report
    from virtualpool.measure import Energy, Latency
    from virtualpool.measure.energy.measuring import EnergyOptions
    from virtualpool.measure.prepared import Conditions
    from virtualpool.plan import Border

_HALF = "unmodified, half resolution"


@grouped
def bench(
    model: options.Model,
    timing: Timing,
    metering: Metering,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES]...", help="Pooled .safetensors files.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also time every eligible site pooled.")
    ] = False,
    weights: options.Weights = None,
    size: options.Size = None,
    input_shape: options.InputShape = None,
    device: options.Device = None,
    border: options.Border = "padded",
    image_scale: options.ImageScale = 1.0,
    as_json: options.AsJson = False,
) -> None:
    """Time a network unmodified and pooled, unfused and fused, and print the settings.

    Interleaved with them, the unmodified one at half resolution: it has as much work as with
    all sites pooled, so it is the practical limit. How good it is there is another question.
    With --image-scale it is also timed on such images, and so is --all. Networks with an image
    scale get images that are resized already.
    """
    with results(as_json) as show:
        import virtualpool
        from virtualpool.cli.network import device_of, example_images, load_network

        asked = metering.asked()
        network, where = load_network(model, weights), device_of(device)
        # Fusing chooses between kernels by their times on the device.
        unmodified = network.module.to(where)
        images = example_images(network, size, input_shape).to(where)
        pooled = _pooled(unmodified, files, border if every else None, image_scale, images)
        timed, reports = _candidates(unmodified, pooled, images)
        macs = {name: virtualpool.measure.macs(*each) for name, each in timed.items()}
        setting: Conditions = {**timing.conditions(), "device": where}
        latencies = virtualpool.measure.latency(timed, images, **setting, repeats=timing.repeats)
        energies = _energies(timed, images, setting, asked)
        value = _as_json(latencies, macs, energies, reports)
        show(value, lambda: _print(latencies, macs, energies))


def _pooled(
    network: "nn.Module",
    files: list[Path] | None,
    border: "Border | None",
    scale: float,
    images: "Tensor",
) -> "dict[str, nn.Module]":
    """The networks with plans, unfused: files, one at an image scale, with a border all sites."""
    import virtualpool

    if not (plan := virtualpool.plan_of(network)).is_empty:
        raise VirtualPoolError(
            f"--weights names a network with {plan.in_words}, and bench compares with the "
            "unmodified one. Give that file as one of FILES, and the original's weights here."
        )
    named = {str(file): virtualpool.load(network, file, unfused=True) for file in files or []}
    if scale != 1:
        name = f"unmodified, images at scale {scale:g}"
        named[name] = virtualpool.apply(network, images, [], image_scale=scale)
    if border is not None:
        name = "all sites" if scale == 1 else f"all sites, images at scale {scale:g}"
        named[name] = virtualpool.apply(network, images, border=border, image_scale=scale)
    return named


def _candidates(
    network: "nn.Module", pooled: "dict[str, nn.Module]", images: "Tensor"
) -> "tuple[dict[str, tuple[nn.Module, Any]], dict[str, Report]]":
    """The models to time, with images; a report of each fused one. Prints which are left out."""
    from virtualpool.graph.image_scale import without_resizing
    from virtualpool.measure import at_half_resolution
    from virtualpool.plan import plan_of
    from virtualpool.search.run.forms import fused_if_possible

    timed: dict[str, tuple[nn.Module, Any]] = {"unmodified": (network, images)}
    reports: dict[str, Report] = {}
    for name, model in pooled.items():
        written, seen = without_resizing(model, images)
        if not plan_of(written).sites:
            timed[name] = written, seen
            continue
        timed[f"{name}, unfused"] = written, seen
        fused, report = fused_if_possible(written, seen)
        for line in report.remaining:
            messages().print(f"{name}: {line}")
        if fused is not None:
            timed[f"{name}, fused"] = fused, seen
            reports[f"{name}, fused"] = report
    try:
        timed[_HALF] = at_half_resolution(network, images)
    except VirtualPoolError as error:
        messages().print(f"{_HALF}, is not timed: {error}")
    return timed, reports


def _energies(
    timed: "dict[str, tuple[nn.Module, Any]]",
    images: "Tensor",
    setting: "Conditions",
    options: "EnergyOptions | None",
) -> "dict[str, Energy]":
    """The energies, if they are asked for; that they cannot be measured is said."""
    from virtualpool.measure import energy

    if options is None:
        return {}
    asked: EnergyOptions = {**setting, **options}
    try:
        return energy(timed, images, **asked)
    except VirtualPoolError as error:
        messages().print(f"energy is not measured: {error}")
        return {}


def _as_json(
    latencies: "dict[str, Latency]",
    macs: dict[str, int],
    energies: "dict[str, Energy]",
    reports: "dict[str, Report]",
) -> dict[str, Any]:
    first = latencies["unmodified"]
    return {
        name: {"macs": macs[name], "latency": latency.to_json()}
        | {"speedup": latency.speedup_over(first).to_json()}
        | ({"energy": energies[name].to_json()} if name in energies else {})
        | ({"fusing": reports[name].to_json()} if name in reports else {})
        for name, latency in latencies.items()
    }


def _print(
    latencies: "dict[str, Latency]", macs: dict[str, int], energies: "dict[str, Energy]"
) -> None:
    from virtualpool.measure.latency import noise_in

    first = latencies["unmodified"]
    columns: Columns[str] = [
        ("model", str),
        (">latency", lambda name: f"{latencies[name].median_ms:.3g} ms"),
        (">quartiles", lambda name: _range(latencies[name].lower_ms, latencies[name].upper_ms)),
        (">speed-up", lambda name: str(latencies[name].speedup_over(first))),
        (">MMACs", lambda name: f"{macs[name] / 1e6:,.1f}"),
    ]
    of_energy: Columns[str] = [
        (">J/image", lambda name: f"{energies[name].median_j:.3g}"),
        (">quartiles", lambda name: _range(energies[name].lower_j, energies[name].upper_j)),
        (">of unmodified", lambda name: str(energies[name].share_of(energies["unmodified"]))),
        (">W", lambda name: f"{energies[name].watts:.3g}"),
    ]
    table_of([*columns, *(of_energy if energies else [])], latencies)
    print(f"\n{len(first.samples_ms)} samples each, interleaved; {first.setting}")
    if said := noise_in({name: it.speedup_over(first) for name, it in latencies.items()}):
        print(said)
    if energies:
        print(f"Energy: {energies['unmodified'].how}")


def _range(lower: float, upper: float) -> str:
    return f"{lower:.3g} to {upper:.3g}"
