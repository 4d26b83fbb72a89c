"""The layout of PASCAL VOC: an XML file an image, and a list of names for each split."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import Image
from torchvision.datasets import VOCDetection

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.detection.objects import Marked, Size, Split

LAYOUT = "<folder>/{JPEGImages/*.jpg,Annotations/*.xml,ImageSets/Main/{trainval,test}.txt}"
_TRAIN, _TEST = ("trainval", "train"), ("test", "val")


def is_voc(folder: Path) -> bool:
    """Whether a folder is laid out as VOC."""
    return (folder / "ImageSets" / "Main").is_dir()


def read_voc(folder: Path) -> tuple[Split | None, Split, list[str]]:
    """The training split (trainval, else train), the test split (test, else val), the classes.

    The classes are those that are found, in alphabetical order. A box's last pixel is inside, and
    its first has the number 1, as VOC has it; one that is not wider and higher than that is empty.

    An image is left out, with the reason, if its XML is missing or broken or the image itself is
    missing or none. If nothing is left of a split, that is refused.

    Raises:
        VirtualPoolError: there is no test split, or a split has no image that can be used.
    """
    train = next((name for name in _TRAIN if _list(folder, name).is_file()), None)
    test = next((name for name in _TEST if _list(folder, name).is_file() and name != train), None)
    if test is None:
        raise VirtualPoolError(
            f"{folder}: neither {_list(folder, 'test').relative_to(folder)} nor val.txt is there; "
            f"VOC's layout is {LAYOUT}."
        )
    named = {name: dict(_read(folder, name)) for name in (train, test) if name is not None}
    files = [found for split in named.values() for found in split.values()]
    classes = sorted({each.name for found in files if found.marked for each in found.marked})
    splits = {name: _split(folder, name, found, classes) for name, found in named.items()}
    return (splits[train] if train else None), splits[test], classes


@dataclass(frozen=True)
class _File:
    """What was found of an image: its size and boxes, or why it cannot be used."""

    size: Size = (0, 0)
    marked: tuple[Marked, ...] = ()
    problem: str | None = None


def _list(folder: Path, split: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{split}.txt"


def _read(folder: Path, split: str) -> Iterator[tuple[Path, _File]]:
    for name in _list(folder, split).read_text(encoding="utf-8").split():
        path = folder / "JPEGImages" / f"{name}.jpg"
        try:
            marked = _marked(folder / "Annotations" / f"{name}.xml")
            with Image.open(path) as image:
                found = _File(image.size, marked)
        except (
            OSError,
            ElementTree.ParseError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:
            found = _File(problem=f"{type(error).__name__}: {error}")
        yield path, found


def _marked(path: Path) -> tuple[Marked, ...]:
    content: Any = VOCDetection.parse_voc_xml(ElementTree.parse(path).getroot())
    return tuple(map(_object, content["annotation"].get("object", [])))


def _object(content: Any) -> Marked:
    left, top, right, bottom = (
        float(content["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    box = (left, top, right, bottom)
    if left < right and top < bottom:
        # VOC counts pixels from 1, and the last one is inside.
        box = (left - 1, top - 1, right, bottom)
    return Marked(box, content["name"], ignored=content.get("difficult") == "1")


def _split(folder: Path, name: str, found: dict[Path, _File], classes: list[str]) -> Split:
    split = Split()
    for path, file in found.items():
        if file.problem is None:
            split.add(path, file.size, list(file.marked), classes)
        else:
            split.skipped[path] = file.problem
    if not split.images:
        first = next((f"; {path}: {why}" for path, why in split.skipped.items()), "")
        raise VirtualPoolError(f"{_list(folder, name)}: none of its images can be used{first}.")
    return split
