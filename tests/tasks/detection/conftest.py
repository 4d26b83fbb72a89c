"""Small data sets in the layouts of VOC and of COCO."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Box = tuple[Any, ...]
"""A name, xmin, ymin, xmax, ymax as VOC has them, and "difficult" where it is."""

SIZE = (40, 30)
"""Width and height of the images."""


def image_at(
    path: Path, colour: tuple[int, int, int] = (10, 200, 90), size: tuple[int, int] = SIZE
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def make_voc(tmp_path) -> Callable[..., Path]:
    """Makes a folder of images with boxes: of each split, of each image, its boxes."""

    def make(**splits: dict[str, list[Box]]) -> Path:
        root = tmp_path / "voc"
        for split, images in splits.items():
            names = root / "ImageSets" / "Main" / f"{split}.txt"
            names.parent.mkdir(parents=True, exist_ok=True)
            names.write_text("".join(f"{name}\n" for name in images))
            for name, boxes in images.items():
                image_at(root / "JPEGImages" / f"{name}.jpg")
                annotation = root / "Annotations" / f"{name}.xml"
                annotation.parent.mkdir(exist_ok=True)
                annotation.write_text(f"<annotation>{''.join(map(_xml, boxes))}</annotation>")
        return root

    return make


def _xml(box: Box) -> str:
    name, left, top, right, bottom, *difficult = box
    return (
        f"<object><name>{name}</name><difficult>{int(bool(difficult))}</difficult><bndbox>"
        f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        "</bndbox></object>"
    )


@pytest.fixture
def make_coco(tmp_path) -> Callable[..., Path]:
    """Makes a folder of images and JSON files: of each split, of each image, its annotations."""

    def make(categories: dict[int, str], **splits: dict[str, list[dict[str, Any]]]) -> Path:
        root = tmp_path / "coco"
        for split, images in splits.items():
            numbered = list(enumerate(images.items(), 1))
            value = {
                "images": [
                    {"id": key, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
                    for key, (name, _) in numbered
                ],
                "annotations": [
                    {"id": 100 * key + place, "image_id": key, "iscrowd": 0} | each
                    for key, (_, annotations) in numbered
                    for place, each in enumerate(annotations)
                ],
                "categories": [{"id": key, "name": name} for key, name in categories.items()],
            }
            file = root / "annotations" / f"instances_{split}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))
            for name in images:
                image_at(root / split / name)
        return root

    return make
