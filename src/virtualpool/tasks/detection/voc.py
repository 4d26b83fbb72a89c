"""The layout of PASCAL VOC: an XML file an image, and a list of names for each split."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.decoding import size_of
from virtualpool.tasks.detection.objects import Marked, Size, Split

LAYOUT = "<folder>/{JPEGImages/*.jpg,Annotations/*.xml,ImageSets/Main/{trainval,test}.txt}"
_TRAIN, _TEST = ("trainval", "train"), ("test", "val")


def is_voc(folder: Path) -> bool:
    """Whether a folder is laid out as VOC."""
    return (folder / "ImageSets" / "Main").is_dir()


def read_voc(folder: Path) -> tuple[Split | None, Split, list[str]]:
    """The training split (trainval, else train), the test split (test, else val), the classes.

    The classes are found in the files, in alphabetical order. A box's last pixel is inside, and
    its first has the number 1, as VOC has it; one that is not wider and higher than that is empty.

    An image is left out, with the reason, if its XML is missing or broken, if an object in it has
    no box or more than one name, or if the image itself is missing or none. If nothing is left
    of a split, that is refused.

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
    """One image's size and boxes, or why it cannot be used."""

    size: Size = (0, 0)
    marked: tuple[Marked, ...] = ()
    problem: str | None = None


def _list(folder: Path, split: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{split}.txt"


def _read(folder: Path, split: str) -> Iterator[tuple[Path, _File]]:
    for name in _names(_list(folder, split)):
        path = folder / "JPEGImages" / f"{name}.jpg"
        try:
            marked = _marked(folder / "Annotations" / f"{name}.xml")
            found = _File(size_of(path), marked)
        except VirtualPoolError as error:
            found = _File(problem=str(error))
        except Exception as error:  # decoders and parsers raise anything: it is this image's alone
            found = _File(problem=f"{type(error).__name__}: {error}")
        yield path, found


def _names(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise VirtualPoolError(f"{path}: not a list of names in UTF-8 ({error}).") from error


def _marked(path: Path) -> tuple[Marked, ...]:
    root = ElementTree.parse(path).getroot()
    if root.tag != "annotation" or not (len(root) or not (root.text or "").strip()):
        raise VirtualPoolError(f"{path.name} is no annotation")
    return tuple(map(_object, root.findall("object")))


def _object(element: ElementTree.Element) -> Marked:
    box = _only(element, "bndbox")
    left, top, right, bottom = (_number(box, side) for side in ("xmin", "ymin", "xmax", "ymax"))
    if left < right and top < bottom:
        # VOC counts pixels from 1, and the last one is inside.
        left, top = left - 1, top - 1
    is_difficult = (element.findtext("difficult") or "").strip() == "1"
    return Marked((left, top, right, bottom), _text(element, "name"), ignored=is_difficult)


def _only(element: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = element.findall(tag)
    if len(found) != 1:
        raise VirtualPoolError(f"<{element.tag}> has {len(found)} <{tag}> in place of one")
    return found[0]


def _text(element: ElementTree.Element, tag: str) -> str:
    found = _only(element, tag)
    text = (found.text or "").strip()
    if len(found) or not text:
        raise VirtualPoolError(f"<{tag}> of <{element.tag}> is no text")
    return text


def _number(element: ElementTree.Element, tag: str) -> float:
    text = _text(element, tag)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise VirtualPoolError(f"<{tag}> of <{element.tag}> is {text!r:.50}, which is no number")
    return number


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
