"""`virtualpool pick --cascade`: a cascade of a run's models and the original, saved in a folder."""

from typing import TYPE_CHECKING, Any

from virtualpool.errors import VirtualPoolError

if TYPE_CHECKING:
    from virtualpool.cascade import Cascade
    from virtualpool.cli.data import Preparation
    from virtualpool.report.record import Record
    from virtualpool.search import Frontier


def cascade_of(run: "Record", frontier: "Frontier", max_drop: float) -> "Cascade":
    """A cascade of a run of `tune`, calibrated on the run's test images and timed as it was.

    Raises:
        VirtualPoolError: the run was not made by `tune`, or its test images are too few for the
            promise.
    """
    from virtualpool.cli.original import check_weights, model_of, weights_of
    from virtualpool.cli.task import Kind, open_task

    given = run.settings
    if not given.keys() >= {"model", "weights", "data", "images"}:
        raise VirtualPoolError(
            f"{run.directory} does not say which network and images it is of: it was not made by "
            "virtualpool tune. Use Frontier.cascade in Python."
        )
    subset = given.get("test images")
    asked = model_of(run), weights_of(run)
    kind: Kind = given.get("task", "classification")
    opened = open_task(
        *asked,
        str(run.path_of(given["data"])),
        _preparation(kind, given["images"]),
        task=kind,
        metric=given.get("metric", "voc"),
        device=given.get("device"),
        batch_size=given.get("batch size"),
        subset=subset if isinstance(subset, int) else None,
        workers=0,
        seed=run.config.get("seed", 0),
        **({"ignored": given["ignored"]} if "ignored" in given else {}),
    )
    check_weights(run, opened.module, *asked)
    return frontier.cascade(
        opened.module.eval(), opened.data.test, max_drop=max_drop, **run.config.get("latency", {})
    )


def _preparation(kind: str, images: dict[str, Any]) -> "Preparation":
    from virtualpool.cli.data import Preparation

    if kind == "detection":
        return Preparation(None, None, None, None, "none")
    mean, std = (tuple(images[name]) for name in ("mean", "std"))
    return Preparation(images.get("size"), images.get("resize"), mean, std, "none")
