"""The network of a run that `virtualpool pick` would pick, exported when `tune` is done."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from virtualpool.cli.terminal import messages
from virtualpool.errors import VirtualPoolError
from virtualpool.processes import is_main

if TYPE_CHECKING:
    from virtualpool.cli.task import Task
    from virtualpool.export import ExportReport
    from virtualpool.export.format import Format
    from virtualpool.search import Frontier


def formats_of(names: str | None) -> "list[Format]":
    """The formats of "onnx,openvino", refused before the run if one is unknown or not installed."""
    from virtualpool.export.formats import FORMATS

    asked = names.split(",") if names else []
    if unknown := [name for name in asked if name not in FORMATS]:
        raise VirtualPoolError(
            f"--export {unknown[0]:.40}: there is no such format. Give {', '.join(FORMATS)}, with "
            "commas between them."
        )
    formats = [FORMATS[name] for name in asked]
    for format in formats:
        format.check("float32", "none")
    return formats


def exported(
    frontier: "Frontier",
    opened: "Task",
    run_dir: Path,
    formats: "Sequence[Format]",
    max_drop: float | None,
) -> "list[ExportReport]":
    """Exports the fastest network within a drop, in each format, into a folder of the run.

    Args:
        frontier: of the finished run.
        opened: the network, and example inputs.
        run_dir: of the run.
        formats: may be none.
        max_drop: of the score; None is the unit's small drop, as the report has it.
    """
    from virtualpool.export import export

    if not formats or not is_main():
        return []
    limit = frontier.unit.small_drop if max_drop is None else max_drop
    point = frontier.pick(max_drop=limit)
    if point.weights is None:
        messages().print(
            f"Nothing is exported: within a drop of {limit:g} the original is the fastest; "
            f"{instead_of_original(frontier)}."
        )
        return []
    model = frontier.restore(opened.module, point)
    score = {"name": frontier.unit.name, "score": point.accuracy, "drop": point.drop}
    return [
        export(
            model,
            run_dir / "export" / f"{point.name}-{format.name}{format.suffix}",
            opened.images,
            format=format.name,
            original=opened.module,
            score=score,
        )
        for format in formats
    ]


def instead_of_original(frontier: "Frontier") -> str:
    """What helps where the original is picked, which has no file; the end of a sentence."""
    if any(point.speedup.median > 1 for point in frontier.points):
        return "allow a larger drop by --max-drop"
    return (
        "no other model of the run is faster, so search again for longer, or with nothing else "
        "running"
    )
