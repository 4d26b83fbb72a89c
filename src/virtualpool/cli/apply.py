"""`virtualpool apply`: pool sites of a network, fuse it, and save it."""

from pathlib import Path
from typing import Annotated

import typer

from virtualpool.cli import options
from virtualpool.cli.terminal import results
from virtualpool.errors import VirtualPoolError
from virtualpool.files import check_suffix


def apply(
    model: options.Model,
    sites: Annotated[
        list[str], typer.Argument(metavar="SITES...", help='Names of sites, or "all".')
    ],
    output: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    weights: options.Weights = None,
    size: options.Size = None,
    input_shape: options.InputShape = None,
    as_json: options.AsJson = False,
) -> None:
    """Pool sites of a network, without fine-tuning, fuse it, and save it with its plan."""
    try:
        check_suffix(output, ".safetensors")
    except VirtualPoolError as error:
        raise typer.BadParameter(f"--output {error}") from error
    with results(as_json) as show:
        import logging

        import virtualpool
        from virtualpool.cli.network import example_images, load_network
        from virtualpool.fuse import report_of

        # What apply and fuse change, and what fuse could not, they log.
        logging.getLogger("virtualpool").setLevel(logging.INFO)
        network = load_network(model, weights)
        images = example_images(network, size, input_shape)
        pooled = virtualpool.apply(network.module, images, "all" if sites == ["all"] else sites)
        fused = virtualpool.fuse(pooled, images)
        before, after = (virtualpool.measure.macs(m, images) for m in (network.module, fused))
        virtualpool.save(fused, output)
        report = report_of(fused)
        result = {
            "pooled": virtualpool.plan_of(fused).names,
            "fusing": report and report.to_json(),
            "macs": {"before": before, "after": after},
            "file": str(output),
        }
        show(
            result,
            lambda: print(
                f"MACs for one image: {before:,} before, {after:,} after "
                f"({before / after:.2f}x fewer).\n"
                f"Saved {output}; load it by virtualpool.load(your_model, {str(output)!r})."
            ),
        )
