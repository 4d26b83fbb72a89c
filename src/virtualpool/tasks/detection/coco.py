"""The layout of COCO: images in a folder, and a JSON file with the boxes of all of them."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from virtualpool.errors import VirtualPoolError
from virtualpool.files import read_json
from virtualpool.tasks.detection.coco_metric import check_coco
from virtualpool.tasks.detection.objects import Marked, Split

LAYOUT = "<folder>/{annotations/instances_{train,val}*.json,{train,val}*/*.jpg}"
_TRAIN, _TEST = ("train*",), ("test*", "val*")


def is_coco(folder: Path) -> bool:
    """Whether a folder is laid out as COCO."""
    return (folder / "annotations").is_dir()


def read_coco(folder: Path) -> tuple[Split | None, Split, list[str]]:
    """The training split, the test split (test, else val), and the classes by their COCO number.

    An image is left out, with the reason, if its file is missing, or if its entry or a box's entry
    is broken. If nothing is left of a split, that is refused.

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
    classes = {file: _classes(content) for file, content in found.items()}
    if train is not None and classes[train] != classes[test]:
        raise VirtualPoolError(f"{train} and {test} have other classes: give both the same.")
    splits = {file: _split(file, content, classes[file]) for file, content in found.items()}
    return (splits[train] if train else None), splits[test], list(classes[test].values())


def _first(folder: Path, patterns: tuple[str, ...]) -> Path | None:
    found = [
        file
        for pattern in patterns
        for file in sorted((folder / "annotations").glob(f"instances_{pattern}.json"))
    ]
    return next(iter(found), None)


Content = dict[str, list[Any]]


def _opened(file: Path) -> Content:
    try:
        content = read_json(file)
    except (VirtualPoolError, RecursionError) as error:
        raise VirtualPoolError(f"{file}: not a COCO file ({error}).") from error
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(x), list) for x in parts):
        raise VirtualPoolError(
            f"{file}: not a COCO file; it must hold lists of {', '.join(parts)}."
        )
    return content


def _classes(content: Content) -> dict[int, str]:
    """The names of the classes by their numbers, in the order of these."""
    named = {}
    for each in content["categories"]:
        key, name = _of(each, "id"), _of(each, "name")
        if _is_whole(key) and isinstance(name, str):
            named[key] = name
    return dict(sorted(named.items()))


def _split(file: Path, content: Content, classes: dict[int, str]) -> Split:
    split = Split()
    folder = file.parent.parent / file.stem.removeprefix("instances_")
    images = _images(file, content, split)
    boxes = _by_image(file, content, images, split)
    for key, image in sorted(images.items()):
        path = folder / image["file_name"]
        if not path.is_file():
            split.skipped[path] = "there is no such file"
            continue
        try:
            marked = [_marked(each, classes) for each in boxes[key]]
        except VirtualPoolError as error:
            split.skipped[path] = str(error)
            continue
        split.add(path, (image["width"], image["height"]), marked, list(classes.values()))
    if not split.images:
        first = next((f"; {path}: {why}" for path, why in split.skipped.items()), "")
        raise VirtualPoolError(
            f"{file}: none of its {len(content['images'])} images is in {folder} and can be "
            f"used{first}."
        )
    return split


def _images(file: Path, content: Content, split: Split) -> dict[int, Any]:
    """The images by their numbers; images with a broken entry are left out of the split."""
    images: dict[int, Any] = {}
    for place, image in enumerate(content["images"]):
        key = _of(image, "id")
        if not _is_whole(key) or not isinstance(_of(image, "file_name"), str):
            problem = "it has no id or no file_name"
        elif not all(_is_number(image.get(x)) and image[x] > 0 for x in ("width", "height")):
            problem = "its width and height are no numbers of pixels"
        elif key in images:
            problem = f"there is another image with the id {key}"
        else:
            images[key] = image
            continue
        split.skipped[Path(f"{file}, images[{place}]")] = problem
    return images


def _by_image(
    file: Path, content: Content, images: dict[int, Any], split: Split
) -> dict[int, list[Any]]:
    """The boxes of each image; boxes of no image are left out of the split."""
    found: dict[int, list[Any]] = defaultdict(list)
    broken = {key for key in map(_id_of, content["images"]) if key not in images}
    for place, annotation in enumerate(content["annotations"]):
        key = _of(annotation, "image_id")
        if _is_whole(key) and key in images:
            found[key].append(annotation)
        elif not _is_whole(key) or key not in broken:
            why = f"annotations[{place}] is of no image in this file"
            split.dropped.append((file, why))
    return found


def _marked(annotation: Any, classes: dict[int, str]) -> Marked:
    key, box, area = (_of(annotation, name) for name in ("category_id", "bbox", "area"))
    said = f"its box {_of(annotation, 'id')!r:.20}"
    if not _is_whole(key) or key not in classes:
        raise VirtualPoolError(f"{said} is of the category {key!r:.50}, which is not there")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise VirtualPoolError(f"{said} is {box!r:.50} in place of four numbers")
    if area is not None and not _is_number(area):
        raise VirtualPoolError(f"{said} has an area of {area!r:.50}")
    left, top, width, height = box
    return Marked(
        (left, top, left + width, top + height),
        classes[key],
        ignored=bool(_of(annotation, "iscrowd")),
        area=area,
    )


def _id_of(entry: Any) -> Any:
    key = _of(entry, "id")
    return key if _is_whole(key) else None


def _of(entry: Any, name: str) -> Any:
    return entry.get(name) if isinstance(entry, dict) else None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    # Numbers in JSON may be nan, or too large for a float.
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and abs(value) < 1e30  # nan is not below it
