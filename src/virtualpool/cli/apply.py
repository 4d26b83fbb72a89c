"""`virtualpool apply`: pool sites of a network, reconstruct its weights, fuse it, and save it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtualpool.cli import options
from virtualpool.cli.grouped import grouped
from virtualpool.cli.terminal import messages, progress, results
from virtualpool.errors import VirtualPoolError
from virtualpool.files import check_suffix, check_writable
from virtualpool.words import count, some

if TYPE_CHECKING:
    from torch import nn

    from virtualpool.cli.network import Network
    from virtualpool.tasks.preprocessing import Preprocessing

_RECONSTRUCTION = "Reconstruction"


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Which images the weights are reconstructed with, if they are."""

    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=_RECONSTRUCTION,
            help="Solve the weights with the images of this folder and its subfolders, without "
            "labels.",
        ),
    ] = None
    images_count: Annotated[
        int,
        typer.Option(min=3, rich_help_panel=_RECONSTRUCTION, help="How many images, at most."),
    ] = 1000
    resize: options.Resize = None
    mean: options.Mean = None
    std: options.Std = None
    seed: options.Seed = 0

    def preprocessing(self, network: "Network", size: int | None) -> "Preprocessing | None":
        """How the images are prepared; None where there are none."""
        from virtualpool.cli.data import Preparation

        if self.images is None:
            return None
        prepared = Preparation(size, self.resize, self.mean, self.std)
        return prepared.for_unlabelled(str(self.images), network)

    def reconstructed(
        self, pooled: "nn.Module", original: "nn.Module", preprocessing: "Preprocessing"
    ) -> "tuple[nn.Module, dict[str, Any]]":
        """The pooled network with solved weights, and their gain on held-out images.

        Raises:
            VirtualPoolError: the folder has too few images, or the network is none whose outputs
                can be compared.
        """
        from virtualpool.measure.agreement import agreement
        from virtualpool.plan import plan_of
        from virtualpool.recover import reconstruct
        from virtualpool.tasks.unlabelled import load_unlabelled

        assert self.images is not None
        _check_original(plan_of(original).names)
        with progress() as observer:
            images = load_unlabelled(
                self.images, preprocessing, self.images_count, seed=self.seed, observer=observer
            )
            if images.skipped:
                messages().print(f"{len(images.skipped)} could not be read: {some(images.skipped)}")
            before = agreement(pooled, original, images.held_out)
            solved = reconstruct(
                pooled, original, images.batches, seed=self.seed, observer=observer
            )
        after = agreement(solved, original, images.held_out)
        return solved, {
            "images": sum(map(len, images.batches)),
            "held_out": after.samples,
            "skipped": images.skipped,
            "agreement": {"before": before.to_json(), "after": after.to_json()},
        }


@grouped
def apply(
    model: options.Model,
    reconstruction: Reconstruction,
    sites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SITES...",
            help='Names of sites, or "all". With --image-scale none is needed.',
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The .safetensors file to write; may be left out with --images."),
    ] = None,
    weights: options.Weights = None,
    size: options.Size = None,
    input_shape: options.InputShape = None,
    border: options.Border = "exact",
    image_scale: options.ImageScale = 1.0,
    as_json: options.AsJson = False,
) -> None:
    """Pool sites of a network, fuse it, and save it with its plan.

    With --images its weights are solved so that it gives the original's maps, and it is said how
    far it agrees with the original on images that were held out.
    """
    _check(output, reconstruction.images, input_shape)
    if not sites and image_scale == 1:
        raise typer.BadParameter("Missing argument 'SITES...': names of sites, or \"all\".")
    with results(as_json) as show:
        import logging

        import virtualpool
        from virtualpool.cli.network import example_images, load_network
        from virtualpool.fuse import report_of

        # Apply and fuse log their changes, and the maps that fuse could not change.
        logging.getLogger("virtualpool").setLevel(logging.INFO)
        network = load_network(model, weights)
        prepared = reconstruction.preprocessing(network, size)
        images = example_images(network, prepared.size if prepared else size, input_shape)
        pooled = virtualpool.apply(
            network.module,
            images,
            "all" if sites == ["all"] else sites or [],
            border=border,
            image_scale=image_scale,
        )
        solved = None
        if prepared:
            pooled, solved = reconstruction.reconstructed(pooled, network.module, prepared)
        fused = virtualpool.fuse(pooled, images)
        before, after = (virtualpool.measure.macs(m, images) for m in (network.module, fused))
        if output is not None:
            virtualpool.save(fused, output)
        report = report_of(fused)
        result = {
            "pooled": virtualpool.plan_of(fused).names,
            "border": border,
            "image_scale": image_scale,
            "fusing": report and report.to_json(),
            "macs": {"before": before, "after": after},
            "file": output and str(output),
        } | ({"reconstruction": solved} if solved else {})
        show(result, lambda: _print(result))


def _check(output: Path | None, images: Path | None, input_shape: str | None) -> None:
    if output is None and images is None:
        raise typer.BadParameter("Missing option '--output': the .safetensors file to write.")
    if output is not None:
        try:
            check_suffix(output, ".safetensors")
        except VirtualPoolError as error:
            raise typer.BadParameter(f"--output {error}") from error
        check_writable(output)  # reconstruction takes minutes
    if images is not None and input_shape is not None:
        raise typer.BadParameter("--images are square, of --size; leave out --input-shape.")


def _check_original(names: list[str]) -> None:
    if names:
        raise VirtualPoolError(
            f"The network has {names[0]} pooled already, so the original's maps are not known; "
            "give the weights of the unmodified network, and all sites at once."
        )


def _print(result: dict[str, Any]) -> None:
    if solved := result.get("reconstruction"):
        done = f"Reconstructed with {solved['images']:,} images"
        if not result["pooled"]:
            done = "No site is pooled, so the weights stay"
        others = count(solved["held_out"], "held-out image")
        print(f"{done}. Agreement with the original on {others}, before and after:")
        for name, measure in (("top-1", "top1"), ("cosine", "cosine")):
            before, after = (solved["agreement"][when][measure] for when in ("before", "after"))
            if before is not None:
                print(f"  {name:6} {before:.4f}  {after:.4f}")
    before, after = result["macs"]["before"], result["macs"]["after"]
    change = f"{before / after:.2f}x fewer" if after <= before else f"{after / before:.2f}x more"
    print(f"MACs for one image: {before:,} before, {after:,} after ({change}).")
    if file := result["file"]:
        print(f"Saved {file}; load it by virtualpool.load(your_model, {file!r}).")
    else:
        print("Nothing is saved; give --output to keep the network.")
