"""Where images and masks lie: in folders side by side, as PASCAL VOC has them, or as Cityscapes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets import Cityscapes
from torchvision.datasets.folder import IMG_EXTENSIONS

from virtualpool.measure.masks import IGNORED

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """An image, and its mask with the number of a class at each pixel.

    Attributes:
        image: its file.
        mask: the file of its mask; none of an image without labels.
        numbers: of each number in the file the class, or the one of ignored pixels; none where the
            file has the classes themselves.
    """

    image: Path
    mask: Path | None
    numbers: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Layout:
    """Where the images and masks of a data set lie.

    Attributes:
        said: how, for people.
        pairs: of the folder of the data and the name of a split its images with their masks, which
            may be missing; nothing where there is no such split.
        tests: the names of the splits to evaluate on, the first that is there.
        classes: the names of the classes, where the data set has its own.
    """

    said: str
    pairs: Callable[[Path, str], list[Pair]]
    tests: tuple[str, ...] = ("test", "val")
    classes: Sequence[str] = ()


def layout_of(folder: Path) -> Layout:
    """The layout of a folder: VOC's and Cityscapes' are known by their folders."""
    if (folder / "JPEGImages").is_dir():
        return VOC
    return CITYSCAPES if (folder / "leftImg8bit").is_dir() else PLAIN


def has_masks(folder: Path) -> bool:
    """Whether a folder has a split with masks in one of the layouts."""
    layout = layout_of(folder)
    return any(layout.pairs(folder, split) for split in ("train", *layout.tests))


def _plain(folder: Path, split: str) -> list[Pair]:
    images, masks = folder / split, folder / f"{split}annot"
    if not (images.is_dir() and masks.is_dir()):
        return []
    found = sorted(each for each in images.iterdir() if each.suffix.lower() in IMG_EXTENSIONS)
    return [Pair(each, masks / f"{each.stem}.png") for each in found]


def _voc(folder: Path, split: str) -> list[Pair]:
    names = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not names.is_file():
        return []
    images, masks = folder / "JPEGImages", folder / "SegmentationClass"
    return _with_masks(
        Pair(images / f"{name}.jpg", masks / f"{name}.png")
        for name in names.read_text("utf-8").split()
    )


def _cityscapes(folder: Path, split: str) -> list[Pair]:
    return _with_masks(
        _cityscapes_pair(folder, image)
        for image in sorted((folder / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
    )


def _cityscapes_pair(folder: Path, image: Path) -> Pair:
    """The classes of training are in a file of their own, or follow from the published ones."""
    name = image.name.removesuffix("leftImg8bit.png")
    masks = folder / "gtFine" / image.parent.parent.name / image.parent.name
    ready = masks / f"{name}gtFine_labelTrainIds.png"
    published = masks / f"{name}gtFine_labelIds.png"
    if ready.is_file() or not published.is_file():
        return Pair(image, ready)
    return Pair(image, published, _TRAINED)


def _with_masks(pairs: Iterable[Pair]) -> list[Pair]:
    """All pairs; none where no mask is there at all, as in test splits without published masks."""
    found = list(pairs)
    return found if any(pair.mask and pair.mask.is_file() for pair in found) else []


_LEARNED = {each.id: each.train_id for each in Cityscapes.classes if 0 <= each.train_id < IGNORED}
_TRAINED = tuple(_LEARNED.get(number, IGNORED) for number in range(256))

PLAIN = Layout(
    "<folder>/{train,test}/<name>.jpg (or png) with masks <folder>/{train,test}annot/<name>.png "
    "(or val, valid or validation in place of test)",
    _plain,
    tests=("test", "val", "valid", "validation"),
)
VOC = Layout(
    "<folder>/ImageSets/Segmentation/{train,val}.txt with names, JPEGImages/<name>.jpg and "
    "SegmentationClass/<name>.png",
    _voc,
    classes=VOC_CLASSES,
)
# Published masks of its test images are empty.
CITYSCAPES = Layout(
    "<folder>/leftImg8bit/{train,val}/<city>/<name>_leftImg8bit.png with masks gtFine/{train,val}/"
    "<city>/<name>_gtFine_labelTrainIds.png, or labelIds",
    _cityscapes,
    tests=("val", "test"),
    classes=[each.name for each in Cityscapes.classes if each.id in _LEARNED],
)
