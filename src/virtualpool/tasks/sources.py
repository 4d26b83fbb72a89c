"""Where images come from: a folder, torchvision's own data sets, the sample in the package."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchvision import datasets

from virtualpool.errors import VirtualPoolError
from virtualpool.files import cache_folder
from virtualpool.tasks.decoding import opened
from virtualpool.tasks.folders import TEST, ClassFolders, ImageFiles, without_labels
from virtualpool.tasks.images import LabelledImages
from virtualpool.tasks.preprocessing import CIFAR10, CIFAR100, Preprocessing
from virtualpool.tasks.sample import cifar10_sample
from virtualpool.words import some

_IMAGENET = Preprocessing(224, resize=256, augmentation="resized crop")
_LAYOUT = "<folder>/{train,test}/<class>/<image> (or val, valid or validation in place of test)"


@dataclass(frozen=True)
class Source:
    """The images of a data set and how they are prepared unless the user says otherwise."""

    train: LabelledImages | None
    test: LabelledImages
    preprocessing: Preprocessing | None = None


def open_source(source: str | Path, *, labels: bool = True) -> Source:
    """Finds the images that `source` names; nothing is decoded yet.

    Args:
        source: a folder `<split>/<class>/<image>`; "sample:cifar10"; "torchvision:CIFAR10" or
            "torchvision:CIFAR100", each with ":<root>" if wanted; "torchvision:ImageNet:<root>".
        labels: False takes a folder without classes, too.

    Raises:
        VirtualPoolError: there is no such source, it is laid out otherwise, or it cannot be
            downloaded.
    """
    text = str(source)
    if text == "sample:cifar10":
        return _folder(cifar10_sample(), CIFAR10)
    if text.startswith("sample:"):
        raise VirtualPoolError(f"{text}: the only sample in the package is sample:cifar10.")
    if text.startswith("torchvision:"):
        return _torchvision(text)
    if labels or has_classes(Path(source)):
        return _folder(Path(source))
    train, test = without_labels(Path(source))
    return Source(ImageFiles(train) if train else None, ImageFiles(test))


def _torchvision(text: str) -> Source:
    _, name, *rest = text.split(":", 2)
    root = rest[0] if rest else str(cache_folder() / name.lower())
    if name == "ImageNet":
        if not rest:
            raise VirtualPoolError(
                "torchvision:ImageNet needs its folder: torchvision:ImageNet:<root>."
            )
        train, test = (
            _opened(datasets.ImageNet, root, split=name, loader=opened) for name in ("train", "val")
        )
        return Source(train, test, _IMAGENET)
    if name not in ("CIFAR10", "CIFAR100"):
        raise VirtualPoolError(
            f"torchvision:{name}: there are torchvision:CIFAR10, torchvision:CIFAR100 and "
            "torchvision:ImageNet:<root>; give other data as a folder."
        )
    kind, preprocessing = (
        (datasets.CIFAR10, CIFAR10) if name == "CIFAR10" else (datasets.CIFAR100, CIFAR100)
    )
    train, test = (_opened(kind, root, train=part, download=True) for part in (True, False))
    return Source(train, test, preprocessing)


def _opened(kind: Any, root: str, **options: Any) -> Any:
    try:
        return kind(root, **options)
    except (OSError, RuntimeError, ImportError) as error:
        raise VirtualPoolError(
            f"torchvision's {kind.__name__} is not in {root} and cannot be fetched ({error}); "
            "put its files there, or give the images as a folder."
        ) from error


def has_classes(folder: Path) -> bool:
    """Whether a folder has a split with folders of classes in it.

    >>> has_classes(Path("nowhere"))
    False
    """
    splits = (folder / split for split in ("train", *TEST))
    return any(each.is_dir() for split in splits for each in split.glob("*"))


def _folder(folder: Path, preprocessing: Preprocessing | None = None) -> Source:
    if not folder.is_dir():
        raise VirtualPoolError(f"{folder}: no such folder; images are read from {_LAYOUT}.")
    found = sorted(child.name for child in folder.iterdir() if child.is_dir())
    test = next((split for split in TEST if split in found), None)
    if test is None:
        raise VirtualPoolError(
            f"{folder}: no test, val, valid or validation folder in it"
            f"{f', only {some(found, 5)}' if found else ', and no folder at all'}; "
            f"images are read from {_LAYOUT}, or without labels (--no-labels) from any folder."
        )
    train = _split(folder / "train") if "train" in found else None
    tested = _split(folder / test)
    if train is not None and train.classes != tested.classes:
        different = sorted(set(train.classes) ^ set(tested.classes))
        raise VirtualPoolError(
            f"{folder}: train has {len(train.classes)} classes and {test} {len(tested.classes)}; "
            f"not in both: {some(different, 5)}."
        )
    return Source(train, tested, preprocessing)


def _split(folder: Path) -> Any:
    try:
        return ClassFolders(folder)
    except FileNotFoundError as error:
        raise VirtualPoolError(
            f"{folder}: {error} Images are read from {_LAYOUT}, or without labels (--no-labels) "
            "from any folder."
        ) from error
