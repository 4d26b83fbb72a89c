"""`virtualpool bench`: time networks side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtualpool.cli import options
from virtualpool.cli.terminal import results, table

if TYPE_CHECKING:
    from virtualpool.measure import Latency


def bench(
    model: options.Model,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES]...", help="Pooled .safetensors files.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also with every eligible site pooled.")
    ] = False,
    weights: options.Weights = None,
    size: options.Size = None,
    input_shape: options.InputShape = None,
    device: options.Device = None,
    mode: options.Mode = "eager",
    threads: options.Threads = None,
    timing_batch: options.TimingBatch = 1,
    dtype: options.Dtype = "float32",
    channels_last: options.ChannelsLast = True,
    samples: options.Samples = 15,
    as_json: options.AsJson = False,
) -> None:
    """Time a network unmodified and pooled, side by side, and say with what settings."""
    with results(as_json) as show:
        import virtualpool
        from virtualpool.cli.network import device_of, example_images, load_network

        network = load_network(model, weights)
        images = example_images(network, size, input_shape)
        models = {"unmodified": network.module}
        for file in files or []:
            models[str(file)] = virtualpool.load(network.module, file)
        if every:
            models["all sites"] = virtualpool.apply(network.module, "all", images)
        macs = {name: virtualpool.measure.macs(m, images) for name, m in models.items()}
        latencies = virtualpool.measure.latency(
            models,
            images,
            mode=mode,
            device=device_of(device),
            dtype=dtype,
            batch=timing_batch,
            threads=threads,
            channels_last=channels_last,
            rounds=samples,
        )
        value = {
            name: {"macs": macs[name], "latency": latency.to_json()}
            | {"speedup": latency.speedup_over(latencies["unmodified"]).to_json()}
            for name, latency in latencies.items()
        }
        show(value, lambda: _print(latencies, macs))


def _print(latencies: "dict[str, Latency]", macs: dict[str, int]) -> None:
    first = latencies["unmodified"]
    rows = [
        [
            name,
            f"{latency.median_ms:.3g} ms",
            f"{latency.lower_ms:.3g} to {latency.upper_ms:.3g}",
            str(latency.speedup_over(first)),
            f"{macs[name] / 1e6:,.1f}",
        ]
        for name, latency in latencies.items()
    ]
    table(["model", ">latency", ">quartiles", ">speed-up", ">MMACs"], rows)
    print(f"\n{len(first.samples_ms)} samples each, interleaved; {first.setting}")
