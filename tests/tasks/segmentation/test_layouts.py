"""The layouts of PASCAL VOC and Cityscapes, in small folders of the same kind."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import Cityscapes, VOCSegmentation

import virtualpool as vp
from virtualpool.tasks.segmentation import load_data
from virtualpool.tasks.segmentation.layouts import VOC_CLASSES, layout_of

MASK = torch.tensor([[0, 0, 7, 7], [20, 20, 255, 7]], dtype=torch.uint8)


def save(path: Path, pixels: torch.Tensor, *, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels.numpy())
    if palette:
        image.putpalette([it for number in range(256) for it in (number, 255 - number, 99)])
    image.save(path)


def photograph(path: Path, size: tuple[int, int] = (2, 4)) -> None:
    save(path, torch.full((*size, 3), 99, dtype=torch.uint8))


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Two images to train with and two to evaluate on, of which the last has no mask."""
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for name in "abcd":
        photograph(folder / "JPEGImages" / f"{name}.jpg")
        if name != "d":
            save(folder / "SegmentationClass" / f"{name}.png", MASK, palette=True)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in {"train": "a\nb\n", "val": "c\nd\n", "test": "e\n"}.items():
        (lists / f"{split}.txt").write_text(names)
    return folder


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    """An image a split; of the first one the published mask alone."""
    folder = tmp_path / "cityscapes"
    for split, kind in {"train": "labelIds", "val": "labelTrainIds", "test": "labelIds"}.items():
        photograph(folder / "leftImg8bit" / split / "bonn" / f"bonn_{split}_leftImg8bit.png")
        # 7 is the road and 0 nothing, 20 a traffic sign; or 0 the road, and 7 the sign.
        mask = MASK if kind == "labelIds" else MASK.where(MASK != 20, 1)
        save(folder / "gtFine" / split / "bonn" / f"bonn_{split}_gtFine_{kind}.png", mask)
    return folder


def test_voc_as_torchvision_reads_it(voc):
    data = load_data(voc, workers=0, batch_size=2)
    root = str(voc.parent.parent)
    for name, split in {"train": "train", "test": "val"}.items():
        theirs = VOCSegmentation(root, image_set=split)
        images = [str(pair.image) for pair in data.splits[name].pairs]
        assert images == theirs.images[: len(images)]
        assert [str(pair.mask) for pair in data.splits[name].pairs] == theirs.masks[: len(images)]
    assert data.splits["test"].left_out() == (
        "1 image left out (d.jpg: no mask SegmentationClass/d.png)"
    )
    assert data.classes == [*VOC_CLASSES]
    _, masks = next(iter(data.test))
    assert masks.tolist() == [MASK.tolist()]


def test_cityscapes_has_the_classes_of_training(streets):
    data = load_data(streets, workers=0, batch_size=1)
    theirs = Cityscapes(str(streets), split="train", mode="fine", target_type="semantic")
    assert [str(pair.image) for pair in data.splits["train"].pairs] == theirs.images
    assert (len(data.classes), data.classes[:2]) == (19, ["road", "sidewalk"])
    assert data.train is not None
    _, masks = next(iter(data.train))
    assert sorted(masks.unique().tolist()) == [0, 7, 255]
    mask = data.splits["test"].pairs[0].mask
    assert mask is not None
    assert mask.name == "bonn_val_gtFine_labelTrainIds.png"
    _, masks = next(iter(data.test))
    assert masks[0].tolist() == MASK.where(MASK != 20, 1).tolist()


def test_names_of_a_layout_are_taken_where_they_are_as_many(voc):
    assert load_data(voc, workers=0, classes=21).classes == [*VOC_CLASSES]
    assert load_data(voc, workers=0, classes=22).classes[-1] == "class 21"
    (voc / "classes.txt").write_text("\n".join("abcdefghijklmnopqrstu"))
    assert load_data(voc, workers=0).classes == [*"abcdefghijklmnopqrstu"]


BAD = {
    "of another size": (torch.zeros(3, 4, dtype=torch.uint8), "its mask has 4 x 3 pixels"),
    "in colours": (torch.zeros(2, 4, 3, dtype=torch.uint8), "its mask has the colours RGB"),
    "unknown": (torch.full((2, 4), 99, dtype=torch.uint8), "The mask holds 99"),
    "missing": (None, "no mask"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("layout", ["voc", "streets"])
def test_bad_masks_are_named_in_each_layout(request, layout, kind):
    folder = request.getfixturevalue(layout)
    pixels, said = BAD[kind]
    pair = layout_of(folder).pairs(folder, "train")[0]
    assert pair.mask is not None
    pair.mask.unlink()
    if pixels is not None:
        mask = pair.mask.with_name(pair.mask.name.replace("labelIds", "labelTrainIds"))
        save(mask, pixels)
    is_alone = layout == "streets"
    if kind == "unknown" or (is_alone and kind != "missing"):
        with pytest.raises(vp.VirtualPoolError, match=said):
            load_data(folder, workers=0)
        return
    data = load_data(folder, workers=0)
    if is_alone:  # without a mask there is no split to train with
        assert data.train is None
        return
    assert said in data.splits["train"].left_out()
    assert len(data.splits["train"].pairs) == 1


def test_the_layouts_are_told(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(vp.VirtualPoolError, match="the layout is <folder>/ImageSets/Segmentation"):
        load_data(tmp_path)


@pytest.mark.parametrize("split", ["val", "valid", "validation"])
def test_the_test_images_may_be_in_folders_of_other_names(street, split):
    for kind in ("", "annot"):
        (street / f"test{kind}").rename(street / f"{split}{kind}")
    assert len(load_data(street, workers=0).splits["test"].pairs) == 3


def test_folders_without_a_split_are_named(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(vp.VirtualPoolError, match="no test images with masks in it, only images"):
        load_data(tmp_path)
    with pytest.raises(vp.VirtualPoolError, match="no such folder"):
        load_data(tmp_path / "images" / "none")


def test_one_reason_is_said_once(street):
    for mask in (street / "trainannot").iterdir():
        save(mask, torch.zeros(24, 32, 3, dtype=torch.uint8))
    with pytest.raises(vp.VirtualPoolError, match=r"\(0.png and 3 more: its mask has the colours"):
        load_data(street)


@pytest.mark.parametrize("second", [1, 255])
def test_masks_of_black_and_white_leave_one_class(street, caplog, second):
    for mask in (*(street / "trainannot").iterdir(), *(street / "testannot").iterdir()):
        pixels = torch.zeros(24, 32, dtype=torch.uint8)
        pixels[4:9] = second
        save(mask, pixels)
    load_data(street, workers=0)
    assert ("hold 0 alone, beside 255 of ignored pixels" in caplog.text) == (second == 255)


def test_a_number_that_the_data_set_does_not_have_is_named(streets):
    mask = next((streets / "gtFine" / "train" / "bonn").glob("*_labelIds.png"))
    Image.fromarray(np.full((2, 4), 300, dtype=np.uint16)).save(mask)
    with pytest.raises(vp.VirtualPoolError, match="The mask holds 300"):
        load_data(streets, workers=0)
