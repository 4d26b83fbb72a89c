"""The layout of COCO: images in a folder, and a JSON file with the boxes of all of them."""

import contextlib
import io
from pathlib import Path
from typing import Any

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.detection.coco_metric import check_coco
from virtualpool.tasks.detection.objects import Marked, Split

LAYOUT = "<folder>/{annotations/instances_{train,val}*.json,{train,val}*/*.jpg}"
_TRAIN, _TEST = ("train*",), ("test*", "val*")


def is_coco(folder: Path) -> bool:
    """Whether a folder is laid out as COCO."""
    return (folder / "annotations").is_dir()


def read_coco(folder: Path) -> tuple[Split | None, Split, list[str]]:
    """The training split, the test split (test, else val), and the classes by their COCO number.

    An image is left out, with the reason, if its file is missing. If nothing is left of a split,
    that is refused.

    Raises:
        VirtualPoolError: pycocotools is not installed, there is no test split, a JSON file is
            broken, two have other classes, or a split has no image that can be used.
    """
    check_coco()
    train, test = _first(folder, _TRAIN), _first(folder, _TEST)
    if test is None:
        raise VirtualPoolError(
            f"{folder}: no annotations/instances_test*.json or _val*.json; COCO's layout is "
            f"{LAYOUT}."
        )
    found = {file: _opened(file) for file in (train, test) if file is not None}
    classes = {file: _classes(coco) for file, coco in found.items()}
    if train is not None and classes[train] != classes[test]:
        raise VirtualPoolError(f"{train} and {test} have other classes: give both the same.")
    splits = {file: _split(file, coco) for file, coco in found.items()}
    return (splits[train] if train else None), splits[test], list(classes[test].values())


def _first(folder: Path, patterns: tuple[str, ...]) -> Path | None:
    found = [
        file
        for pattern in patterns
        for file in sorted((folder / "annotations").glob(f"instances_{pattern}.json"))
    ]
    return next(iter(found), None)


def _opened(file: Path) -> Any:
    from pycocotools.coco import COCO

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it says what it does
            return COCO(str(file))
    except (OSError, ValueError, LookupError, TypeError, AssertionError) as error:
        raise VirtualPoolError(
            f"{file}: not a COCO file ({type(error).__name__}: {error})."
        ) from error


def _classes(coco: Any) -> dict[int, str]:
    return {key: coco.cats[key]["name"] for key in sorted(coco.cats)}


def _split(file: Path, coco: Any) -> Split:
    classes, split = _classes(coco), Split()
    folder = file.parent.parent / file.stem.removeprefix("instances_")
    for key in sorted(coco.imgs):
        image = coco.imgs[key]
        path = folder / image["file_name"]
        if not path.is_file():
            split.skipped[path] = "there is no such file"
            continue
        marked = [_marked(each, classes) for each in coco.imgToAnns[key]]
        split.add(path, (image["width"], image["height"]), marked, list(classes.values()))
    if not split.images:
        raise VirtualPoolError(f"{file}: none of its {len(coco.imgs)} images is in {folder}.")
    return split


def _marked(annotation: Any, classes: dict[int, str]) -> Marked:
    left, top, width, height = annotation["bbox"]
    return Marked(
        (left, top, left + width, top + height),
        classes[annotation["category_id"]],
        ignored=bool(annotation.get("iscrowd", 0)),
        area=annotation.get("area"),
    )
