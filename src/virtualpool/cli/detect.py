"""`virtualpool detect`: the boxes of a detector and of a pooled one of it, side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtualpool.cli import options
from virtualpool.cli.terminal import messages, progress, results, table
from virtualpool.errors import VirtualPoolError
from virtualpool.files import replacing

if TYPE_CHECKING:
    from virtualpool.cli.detectors import Detectors
    from virtualpool.tasks.detection.comparison import Comparison, Seen
    from virtualpool.tasks.detection.objects import Objects


def detect(
    output: Annotated[Path, typer.Option(help="The folder for the pictures.")],
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="The detector, named as in the other commands."),
    ] = None,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A pooled .safetensors file of it.")
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="A run of `tune --task detection`, in place of FILE; it also knows MODEL, "
            "--weights and --data."
        ),
    ] = None,
    point: Annotated[
        str | None,
        typer.Option(
            metavar="round-02",
            help="Which model of the run; the one in its report's headline if not given.",
        ),
    ] = None,
    weights: options.Weights = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            rich_help_panel=options.DATA,
            help="An image, a folder of images, or the test images of a folder in the layout of "
            "VOC or of COCO; may be given several times.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, rich_help_panel=options.DATA, help="Most images to draw.")
    ] = 16,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out boxes with a lower score.")
    ] = 0.5,
    device: options.Device = None,
    as_json: options.AsJson = False,
) -> None:
    """Draw the boxes of a detector and of a pooled one of it, side by side.

    Give MODEL, FILE and --data, or --run-dir.
    """
    _check_usage(model, file, run_dir, point, data)
    with results(as_json) as show:
        from virtualpool.cli.detectors import of_file, of_run

        if run_dir:
            detectors = of_run(run_dir, point, model, weights, data or [], device)
        else:
            detectors = of_file(str(model), Path(str(file)), weights, data or [], device)
        images = detectors.images[:limit]
        if len(images) < len(detectors.images):
            messages().print(f"The first {limit} of {len(detectors.images)} images; see --limit.")
        rows = _drawn(detectors, images, _pictures(images, output), min_score)
        names = list(detectors.models)
        value = {"models": names, "min_score": min_score, "images": rows}
        show(value, lambda: _print(names, rows, min_score, output))


def _drawn(
    detectors: "Detectors", images: "list[Objects]", pictures: dict[Path, Path], min_score: float
) -> list[dict[str, Any]]:
    """Writes the pictures; returns the boxes in each."""
    from virtualpool.tasks.detection import drawing
    from virtualpool.tasks.detection.comparison import compared

    rows: list[dict[str, Any]] = []
    with progress() as observe:
        for done, each in enumerate(compared(detectors.models, images, min_score)):
            picture = pictures[each.objects.path]
            observe("images", done, len(images), picture.name)
            with replacing(picture) as beside:
                drawing.side_by_side(each, detectors.classes, beside, "jpeg")
            rows.append(_row(each, detectors.classes, picture))
        observe("images", len(images), len(images), "done")
    if not rows:
        raise VirtualPoolError(f"None of the images can be read, such as {images[0].path}.")
    return rows


def _check_usage(
    model: str | None,
    file: Path | None,
    run_dir: Path | None,
    point: str | None,
    data: list[Path] | None,
) -> None:
    if run_dir and file:
        raise typer.BadParameter("give FILE or --run-dir, not both.")
    if not run_dir and not file:
        raise typer.BadParameter("give MODEL and FILE, a pooled file of it, or --run-dir.")
    if not run_dir and point:
        raise typer.BadParameter("--point names a model of a run; give --run-dir, too.")
    if not run_dir and not data:
        raise typer.BadParameter("give --data, the images.")


def _pictures(images: "list[Objects]", output: Path) -> dict[Path, Path]:
    """Where the picture of each image goes; no two to the same file, none on an image itself."""
    if output.exists() and not output.is_dir():
        raise VirtualPoolError(f"--output {output}: is a file; give a folder for the pictures.")
    pictures: dict[Path, Path] = {}
    for image in images:
        taken, stem, number = set(pictures.values()), image.path.stem, 1
        while (picture := output / f"{stem}.jpg") in taken:
            number += 1
            stem = f"{image.path.stem}-{number}"
        pictures.setdefault(image.path, picture)
    for path, picture in pictures.items():
        if picture.exists() and picture.samefile(path):
            raise VirtualPoolError(
                f"--output {output}: {picture} is one of the images; give another folder."
            )
    return pictures


def _row(comparison: "Comparison", classes: list[str], picture: Path) -> dict[str, Any]:
    return {
        "image": str(comparison.objects.path),
        "picture": str(picture),
        "marked": len(comparison.objects.boxes),
        "original": _boxes(comparison.original, classes),
        "pooled": _boxes(comparison.pooled, classes),
        "agreed": comparison.agreed,
    }


def _boxes(seen: "Seen", classes: list[str]) -> list[dict[str, Any]]:
    from virtualpool.tasks.detection.comparison import name_of

    columns = [seen.found[name].tolist() for name in ("boxes", "labels", "scores")]
    return [
        {"box": box, "class": name_of(label, classes), "score": score}
        for box, label, score in zip(*columns, strict=True)
    ]


def _print(names: list[str], rows: list[dict[str, Any]], min_score: float, output: Path) -> None:
    numbers = [
        [row["marked"], len(row["original"]), len(row["pooled"]), row["agreed"]] for row in rows
    ]
    titles = [Path(row["image"]).name for row in rows]
    sums = [sum(column) for column in zip(*numbers, strict=True)]
    lines = [*zip(titles, numbers, strict=True), ("all", sums)]
    columns = ["image", ">marked", *(f">{name}" for name in names), ">both"]
    table(columns, [[title, *map(str, counts)] for title, counts in lines])
    print(f"\nBoxes with a score of at least {min_score:g}; marked: the data's own")
    print("both: found by both, of one class and with half of their union in common at least")
    print(f"Pictures: {output}")
