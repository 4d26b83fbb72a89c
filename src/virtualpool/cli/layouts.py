"""For which task a folder of images is laid out, so that a forgotten --task is noticed."""

from collections.abc import Callable
from pathlib import Path

from virtualpool.cli.data import Kind
from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.detection.coco import is_coco
from virtualpool.tasks.detection.voc import is_voc
from virtualpool.tasks.segmentation.layouts import has_masks
from virtualpool.tasks.sources import has_classes

_LAYOUTS: dict[Kind, Callable[[Path], bool]] = {
    "classification": has_classes,
    "detection": lambda folder: is_voc(folder) or is_coco(folder),
    "segmentation": has_masks,
}


def check_layout(source: str, task: Kind) -> None:
    """Refuses a folder that is laid out for other tasks than the one that is asked for.

    A folder that no task knows is left to the task, whose error says what it expects.

    Raises:
        VirtualPoolError: the folder is laid out for another task.

    >>> check_layout("sample:cifar10", "classification")
    """
    folder = Path(source)
    found = [each for each, is_laid_out in _LAYOUTS.items() if is_laid_out(folder)]
    if found and task not in found:
        asked = " or ".join(f"--task {each}" for each in found)
        raise VirtualPoolError(
            f"{source}: is laid out for {' and '.join(found)}, and the task is {task}. Give "
            f"{asked}, or another folder."
        )
