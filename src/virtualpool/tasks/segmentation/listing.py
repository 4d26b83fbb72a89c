"""The images of each split with their masks, and which of them cannot be used."""

from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.decoding import size_of
from virtualpool.tasks.folders import without_labels
from virtualpool.tasks.segmentation.layouts import (
    PLAIN,
    VOC,
    Layout,
    Pair,
    has_masks,
    layout_of,
)
from virtualpool.words import count, some

Size = tuple[int, int]

NAMES = "classes.txt"
"""A file in the folder with the name of a class on each line."""


@dataclass
class Split:
    """The images of a split with their masks, and the ones left out.

    Attributes:
        pairs: the images that can be used, as far as the heads of their files say.
        skipped: of images that were left out the file, and why.
        sizes: (width, height) of the images that can be used.
    """

    pairs: list[Pair] = field(default_factory=list)
    skipped: dict[Path, str] = field(default_factory=dict)
    sizes: set[Size] = field(default_factory=set)

    def left_out(self) -> str:
        """How many images were left out, and why, for people; nothing where none was."""
        if not self.skipped:
            return ""
        alike: dict[str, list[str]] = {}
        for path, reason in self.skipped.items():
            alike.setdefault(reason, []).append(path.name)
        reasons = [f"{some(names, 1)}: {reason}" for reason, names in alike.items()]
        return f"{count(len(self.skipped), 'image')} left out ({some(reasons, 3)})"


def read_splits(folder: Path, *, labels: bool = True) -> dict[str, Split]:
    """The splits "train", where it is there, and "test" of a folder.

    An image is left out if its mask is missing, has another size, or colours in place of numbers.

    Args:
        folder: has images.
        labels: False takes a folder of images without masks, too.

    Raises:
        VirtualPoolError: the folder is laid out otherwise, or no image in a split can be used.
    """
    layout = layout_of(folder)
    if not labels and not has_masks(folder):
        unlabelled = zip(("train", "test"), without_labels(folder), strict=True)
        return {
            name: _read(folder, layout, name, [Pair(path, None) for path in paths])
            for name, paths in unlabelled
            if paths
        }
    pairs = {name: layout.pairs(folder, name) for name in ("train", *layout.tests)}
    test = next((name for name in layout.tests if pairs[name]), None)
    if test is None:
        said = f"the layout is {layout.said}"
        others = "" if layout is not PLAIN else f"; or as PASCAL VOC's or Cityscapes', {VOC.said}"
        others += "; or without masks (--no-labels) any folder of images"
        there = sorted(each.name for each in folder.glob("*") if each.is_dir())
        raise VirtualPoolError(
            f"{folder}: no test images with masks in it, only {some(there, 5)}; {said}{others}."
            if there
            else f"{folder}: no such folder, or nothing in it; {said}{others}."
        )
    named = {"train": "train", "test": test}
    return {
        name: _read(folder, layout, each, pairs[each])
        for name, each in named.items()
        if pairs[each]
    }


def class_names(folder: Path, count: int | None = None) -> list[str] | None:
    """The names in `classes.txt` of a folder, else of its layout; none where nothing says them.

    Where there are known to be `count`, another number of names of the layout says nothing.
    """
    path = folder / NAMES
    if not path.is_file():
        usual = list(layout_of(folder).classes)
        return usual if usual and count in (None, len(usual)) else None
    return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]


def _read(folder: Path, layout: Layout, name: str, pairs: list[Pair]) -> Split:
    split = Split()
    for pair in pairs:
        found = _looked_at(pair)
        if isinstance(found, str):
            split.skipped[pair.image] = found
        else:
            split.pairs.append(pair)
            split.sizes.add(found)
    if not split.pairs:
        raise VirtualPoolError(
            f"{folder}, {name}: no image can be used. {split.left_out()}; the layout is "
            f"{layout.said}."
        )
    return split


def _looked_at(pair: Pair) -> Size | str:
    """The size of a pair that can be used, as far as the heads of the files say, or why not."""
    if pair.mask and not pair.mask.is_file():
        return f"no mask {pair.mask.parent.name}/{pair.mask.name}"
    try:
        image = size_of(pair.image)
        if pair.mask is None:
            return image
        mask = size_of(pair.mask)
        with Image.open(pair.mask) as opened:
            bands = opened.getbands()
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error
        return f"it or its mask cannot be read ({error})"
    if len(bands) > 1:
        colours = "".join(bands)
        return f"its mask has the colours {colours}; write the number of its class at each pixel"
    if image != mask:
        return f"its mask has {mask[0]} x {mask[1]} pixels, and it {image[0]} x {image[1]}"
    return image
