"""`virtualpool export`: a saved network as a file for another runtime, run and compared there."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from virtualpool.cli import options
from virtualpool.cli.terminal import messages, progress, results
from virtualpool.errors import VirtualPoolError
from virtualpool.words import some

if TYPE_CHECKING:
    from virtualpool.cli.data import Preparation
    from virtualpool.cli.network import Network

Format = Literal["onnx", "onnx-any", "tensorrt", "openvino", "pt2", "aoti", "executorch", "coreml"]


def export(
    model: options.Model,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A file of `virtualpool apply`, `pick` or virtualpool.save, with the weights.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            help="The file to write: .onnx, .xml (OpenVINO), .pt2 (torch.export), .pte "
            "(ExecuTorch) or .mlpackage (Core ML)."
        ),
    ],
    format: Annotated[
        Format | None,
        typer.Option(
            metavar="FORMAT",
            help="Where the suffix does not say it: onnx (for processors), onnx-any or tensorrt; "
            "pt2 or aoti; openvino, executorch, coreml.",
        ),
    ] = None,
    precision: Annotated[
        Literal["float32", "float16"], typer.Option(help="Precision of the file.")
    ] = "float32",
    int8: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGES",
            help="Write int8, calibrated with images of this folder, without labels.",
        ),
    ] = None,
    images_count: Annotated[
        int, typer.Option(min=2, help="How many images of --int8, at most.")
    ] = 300,
    open_axes: Annotated[
        Literal["none", "batch", "all"],
        typer.Option(help="Take any number of images (batch), or any height and width, too (all)."),
    ] = "none",
    part: Annotated[
        str | None,
        typer.Option(help="Export this submodule alone, such as a detector's backbone."),
    ] = None,
    latency: Annotated[
        bool,
        typer.Option(help="Time it in its runtime, interleaved with the original network."),
    ] = True,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="The original's, for its time: a detector takes longer the more boxes it finds.",
        ),
    ] = None,
    threads: options.Threads = None,
    size: options.Size = None,
    input_shape: options.InputShape = None,
    resize: options.Resize = None,
    mean: options.Mean = None,
    std: options.Std = None,
    as_json: options.AsJson = False,
) -> None:
    """Export a saved network, run it in its runtime, and compare it with the network.

    Nothing is written unless the runtime gives the network's outputs. A card with all that was
    found is written beside the file.
    """
    with results(as_json) as show:
        import virtualpool
        from virtualpool.cli.data import Preparation
        from virtualpool.cli.network import load_network
        from virtualpool.graph.image_scale import transforms_of

        network = load_network(model, weights)
        if latency and not (weights or part) and transforms_of(network.module):
            messages().print(
                "the original is timed as it is built: a detector takes longer the more boxes it "
                "finds, so give its --weights"
            )
        loaded = virtualpool.load(network.module, file)
        images, calibration = _inputs(network, loaded, size, input_shape), []
        if int8:
            said = Preparation(size, resize, mean, std)
            calibration = _calibration(int8, network, images, said, images_count)
        timing = "" if not latency else " and times it beside the original"
        messages().print(f"{output}: writes the file, runs it in its runtime{timing}")
        report = virtualpool.export(
            loaded,
            output,
            images,
            format=format,
            original=network.module if latency else None,
            precision="int8" if int8 else precision,
            open_axes=open_axes,
            part=part,
            calibration=calibration,
            threads=threads,
        )
        show(report.to_json(), lambda: print(report))


def _inputs(network: "Network", loaded: Any, size: int | None, shape: str | None) -> Any:
    """Images of the given size, or inputs like the ones that the file was pooled with."""
    from virtualpool.cli.network import example_images
    from virtualpool.graph.image_scale import given_to
    from virtualpool.graph.inputs import from_description
    from virtualpool.plan import record_of

    record = record_of(loaded)
    if size or shape or record is None:
        return example_images(network, size, shape)
    return given_to(loaded, from_description(record.inputs))


def _calibration(
    folder: Path, network: "Network", images: Any, said: "Preparation", count: int
) -> list[Any]:
    """Images of a folder in the size of the example's, solved and held-out ones together."""
    from torch import Tensor

    from virtualpool.tasks.unlabelled import load_unlabelled

    if not isinstance(images, Tensor) or images.shape[-1] != images.shape[-2]:
        raise VirtualPoolError(
            "--int8 calibrates with square images, and the network takes other inputs. Calibrate "
            "it in Python, by virtualpool.export(..., calibration=[batch, ...])."
        )
    sized = replace(said, size=images.shape[-1])
    with progress() as observer:
        preprocessing = sized.for_unlabelled(str(folder), network)
        loaded = load_unlabelled(folder, preprocessing, count, observer=observer)
    if loaded.skipped:
        messages().print(f"{len(loaded.skipped)} could not be read: {some(loaded.skipped)}")
    return [*loaded.batches, *loaded.held_out]
