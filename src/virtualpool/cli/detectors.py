"""Two detectors and images for both, as `virtualpool detect` names them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from virtualpool.cli.network import Network, device_of, load_network
from virtualpool.cli.original import check_weights, model_of, weights_of
from virtualpool.cli.terminal import messages
from virtualpool.errors import VirtualPoolError
from virtualpool.report import record
from virtualpool.report.record import Record
from virtualpool.search.frontier import Point
from virtualpool.storage import load
from virtualpool.tasks.detection.listing import listed
from virtualpool.tasks.detection.objects import Objects
from virtualpool.words import nearest


@dataclass(frozen=True)
class Detectors:
    """A detector, a pooled one of it, and images.

    Attributes:
        models: both, on their device, by their names for people; the original first.
        images: with the marked objects of each, where they are known.
        classes: the names of the labels, from 1 on, where they are known.
    """

    models: dict[str, nn.Module]
    images: list[Objects]
    classes: list[str]


def of_file(
    model: str, file: Path, weights: str | None, data: Sequence[Path], device: str | None
) -> Detectors:
    """The detector that a user names, and the one in a pooled file.

    Raises:
        VirtualPoolError: a model cannot be loaded, or there is no image.
    """
    where = device_of(device)
    network = load_network(model, weights)
    module = network.module.to(where)
    return _with_images({"original": module, file.name: load(module, file)}, network, data)


def of_run(
    run_dir: Path,
    point: str | None,
    model: str | None,
    weights: str | None,
    data: Sequence[Path],
    device: str | None,
) -> Detectors:
    """The original of a run and one of its models; the run's settings stand for missing options.

    Raises:
        VirtualPoolError: there is no run, or not of a detector, or it has no such model; the
            original cannot be loaded or has other weights than the run's; there is no image.
    """
    run = record.read(run_dir)
    refuse_other_tasks(run, "such a run, or a detector and a pooled file of it")
    chosen = _chosen(run, point)
    network, module = original_of(run, model, weights, device)
    assert run.frontier is not None
    models = {"original": module, chosen.name: run.frontier.restore(module, chosen)}
    found = _with_images(models, network, data or [run.path_of(run.settings["data"])])
    return found if found.classes else Detectors(models, found.images, classes_of(run))


def refuse_other_tasks(run: Record, wanted: str = "such a run") -> None:
    """Raises a VirtualPoolError, with the next step, if a run is not one of a detector."""
    if run.settings.get("task") != "detection":
        raise VirtualPoolError(
            f"{run.directory}: not a run of `virtualpool tune --task detection`; give {wanted}."
        )


def original_of(
    run: Record, model: str | None, weights: str | None, device: str | None
) -> tuple[Network, nn.Module]:
    """The unmodified detector of a run, and its module on a device.

    Args:
        run: of a detector.
        model: the detector, in place of the one that the run names.
        weights: likewise.
        device: None is a GPU if there is one, else the CPU.

    Raises:
        VirtualPoolError: it cannot be loaded, or has other weights than the run's.
    """
    asked = model or model_of(run), weights or weights_of(run)
    try:
        network = load_network(*asked)
    except VirtualPoolError as error:
        raise VirtualPoolError(
            f"{error} {run.directory} was made with them. Give the model and --weights if "
            "they are elsewhere now."
        ) from error
    check_weights(run, network.module, *asked)
    return network, network.module.to(device_of(device))


def _chosen(run: Record, name: str | None) -> Point:
    made = {point.name: point for point in run.points if point.weights}
    chosen = made.get(name) if name else run.claim.point
    if not made or (not name and not chosen):
        raise VirtualPoolError(f"{run.directory}: no round is done yet; go on with the run first.")
    if chosen is None:
        raise VirtualPoolError(
            f"--point {name}: the run has no such model{nearest(name or '', made)}."
        )
    if not name and not run.finished:
        messages().print(f"{run.directory} is not finished: {chosen.name} is its best so far.")
    return chosen


def _with_images(models: dict[str, nn.Module], network: Network, data: Sequence[Path]) -> Detectors:
    found = [listed(path) for path in data]
    images = [image for some, _ in found for image in some]
    classes = next((names for _, names in found if names), [])
    return Detectors(models, images, network.classes or classes)


def classes_of(run: Record) -> list[str]:
    """The names of the labels in the data of a run, if these are still there."""
    data = run.settings.get("data")
    try:
        return listed(run.path_of(data))[1] if data else []
    except VirtualPoolError:
        messages().print(f"{data}: not there, so classes have no names.")
        return []
