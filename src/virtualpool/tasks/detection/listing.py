"""The images that a path names, with the objects marked in them where they are known."""

from pathlib import Path

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.detection import coco, voc
from virtualpool.tasks.detection.objects import Objects, Split
from virtualpool.tasks.folders import without_labels


def read_marked(folder: Path, *, labels: bool = True) -> tuple[Split | None, Split, list[str]]:
    """The training split, the test split and the classes of a folder as VOC or COCO lay it out.

    Args:
        folder: has images.
        labels: False takes a folder of images without boxes, too, which has no classes.

    Raises:
        VirtualPoolError: it is laid out otherwise, or nothing in it can be used.
    """
    if voc.is_voc(folder):
        return voc.read_voc(folder)
    if coco.is_coco(folder):
        return coco.read_coco(folder)
    if not labels:
        train, test = (
            Split([_unmarked(path) for path in paths], labels=False)
            for paths in without_labels(folder)
        )
        return train if train.images else None, test, []
    raise VirtualPoolError(
        f"{folder}: no such folder, or none with boxes; VOC's layout is {voc.LAYOUT}, COCO's is "
        f"{coco.LAYOUT}."
    )


def listed(path: Path) -> tuple[list[Objects], list[str]]:
    """The images that a path names, and the classes of the objects marked in them.

    Args:
        path: a folder in the layout of VOC or COCO, which names its test images; another folder,
            which names the image files that are directly in it; or an image file.

    Raises:
        VirtualPoolError: there is nothing there, or no image in it.
    """
    if voc.is_voc(path) or coco.is_coco(path):
        _, test, classes = read_marked(path)
        return test.images, classes
    if path.is_file():
        return [_unmarked(path)], []
    files = [file for file in sorted(path.glob("*")) if file.suffix.lower() in IMG_EXTENSIONS]
    if not files:
        raise VirtualPoolError(
            f"{path}: no such file or folder, or one without images "
            f"({', '.join(IMG_EXTENSIONS)}); give an image, a folder of images, or one with boxes "
            f"in the layout of VOC, {voc.LAYOUT}, or of COCO, {coco.LAYOUT}."
        )
    return [_unmarked(file) for file in files], []


def _unmarked(path: Path) -> Objects:
    nothing = torch.zeros(0)
    return Objects(path, torch.zeros(0, 4), nothing.long(), nothing.bool(), nothing)
