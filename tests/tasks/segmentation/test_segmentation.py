"""Segmentation data: the layout, bad masks, and images and masks that move together."""

import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.tasks.segmentation.conftest import Bright
from torch import nn

import virtualpool as vp
from virtualpool.measure.masks import confusion, unions
from virtualpool.tasks.segmentation import PixelLoss, Preparation, evaluator, load_data
from virtualpool.tasks.segmentation.found import logits_of


def image(shape: tuple[int, ...], path: Path) -> None:
    Image.fromarray(torch.zeros(*shape, dtype=torch.uint8).numpy()).save(path)


def test_batches_classes_and_a_perfect_score(street):
    data = load_data(street, workers=0, batch_size=2)
    assert data.classes == ["ground", "car"]
    assert data.train is not None
    images, masks = next(iter(data.train))
    assert (images.shape, images.dtype) == ((2, 3, 24, 32), torch.float32)
    assert (masks.shape, masks.dtype) == ((2, 24, 32), torch.int64)
    assert set(masks.unique().tolist()) == {0, 1, 255}
    score = evaluator(data.test)(Bright())
    assert (float(score), score.samples, score.standard_error) == (1.0, 3, 0.0)
    assert score.metrics == {
        "pixel accuracy": 1.0, "boundary F": 1.0, "IoU of ground": 1.0, "IoU of car": 1.0,
    }  # fmt: skip
    assert len(data.some_training_images(3).dataset) == 3  # pyright: ignore[reportArgumentType]


def test_a_loop_over_the_images_ends(street):
    data = load_data(street, workers=0)
    assert data.train is not None
    images: Any = data.train.dataset
    assert len([*islice(images, 5)]) == 4
    images = data.test.dataset
    assert len([*islice(images, 4)]) == 3


def test_the_score_and_its_error_are_those_of_the_counts():
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 3, (4, 6, 7), generator=generator)
    logits = torch.rand(4, 3, 6, 7, generator=generator)
    batches = [(logits[:2], masks[:2]), (logits[2:], masks[2:])]
    score = evaluator(batches, classes=["a", "b", "c"])(nn.Identity())
    found = logits.argmax(1)

    def miou(kept):
        each = [
            ((found[kept] == c) & (masks[kept] == c)).sum()
            / ((found[kept] == c) | (masks[kept] == c)).sum()
            for c in range(3)
        ]
        return float(sum(each) / 3)

    every = list(range(4))
    assert float(score) == pytest.approx(miou(every))
    pseudo = torch.tensor(
        [4 * miou(every) - 3 * miou([it for it in every if it != i]) for i in every]
    )
    assert score.standard_error == pytest.approx(float(pseudo.std() / 2), rel=1e-4)
    assert score.metrics["pixel accuracy"] == pytest.approx(
        float((found == masks).float().mean()), abs=1e-6
    )


def test_smaller_logits_are_enlarged_and_a_dict_of_torchvision_is_read(street):
    class Small(nn.Module):
        def forward(self, x):
            return {"out": nn.functional.avg_pool2d(Bright()(x), 2)}

    data = load_data(street, workers=0)
    assert 0.5 < float(evaluator(data.test)(Small())) <= 1.0
    with pytest.raises(vp.VirtualPoolError, match="logits of 3 classes, and the data have 2"):
        evaluator(data.test)(nn.Identity())
    with pytest.raises(vp.VirtualPoolError, match=r"gives \(3, 2304\)"):
        evaluator(data.test)(nn.Flatten())


def test_a_class_without_pixels_does_not_count():
    matrix = confusion(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 0]]]), 3, 255)[0]
    each = unions(matrix)
    assert each[:2].tolist() == [0.5, 0.0]
    assert each[2].isnan()


def test_masks_that_cannot_be_used_are_named(street):
    train = street / "train"
    for name in ("lost", "wide", "red", "broken"):
        image((24, 32, 3), train / f"{name}.png")
    image((24, 30), street / "trainannot" / "wide.png")
    image((24, 32, 3), street / "trainannot" / "red.png")
    (street / "trainannot" / "broken.png").write_bytes(b"no image")
    split = load_data(street, workers=0).splits["train"]
    assert len(split.pairs) == 4
    reasons = {path.stem: reason for path, reason in split.skipped.items()}
    assert reasons["lost"] == "no mask trainannot/lost.png"
    assert reasons["wide"] == "its mask has 30 x 24 pixels, and it 32 x 24"
    assert reasons["red"].startswith("its mask has the colours RGB")
    assert "cannot be read" in reasons["broken"]
    assert split.left_out().startswith("4 images left out (broken.png: ")


def test_numbers_that_are_no_class_are_refused_where_the_split_begins(street):
    with pytest.raises(vp.VirtualPoolError, match=r"0\.png: The mask holds 255, .* 0 to 1"):
        load_data(street, ignored=7)
    with pytest.raises(vp.VirtualPoolError, match="holds 1, and the numbers of classes are 0 to 0"):
        load_data(street, classes=["ground"])


def test_later_such_a_mask_is_skipped(street, monkeypatch):
    monkeypatch.setattr("virtualpool.tasks.segmentation._LOOKED_AT", 1)
    mask = torch.full((24, 32), 9, dtype=torch.uint8)
    Image.fromarray(mask.numpy()).save(street / "testannot" / "2.png")
    data = load_data(street, workers=0)
    assert evaluator(data.test)(Bright()).samples == 2
    assert [Path(name).name for name in data.skipped] == ["2.png"]


def test_images_without_masks(street):
    shutil.rmtree(street / "trainannot")
    shutil.rmtree(street / "testannot")
    (street / "test" / "broken.png").write_bytes(b"no image")
    data = load_data(street, classes=2, labels=False)
    assert data.train is not None
    assert [len(data.splits[name].pairs) for name in ("train", "test")] == [4, 3]
    assert [path.name for path in data.splits["test"].skipped] == ["broken.png"]
    for images, masks in (next(iter(data.train)), next(iter(data.test))):
        assert masks.shape == (len(images), *images.shape[2:])
        assert (masks == data.ignored).all()


def test_folders_of_masks_are_read_as_such_without_labels(street):
    masks = torch.cat([masks for _, masks in load_data(street, labels=False).test])
    assert set(masks.unique().tolist()) == {0, 1, 255}


def test_the_layout_and_the_classes_are_asked_for(street, tmp_path):
    with pytest.raises(vp.VirtualPoolError, match="the layout is <folder>"):
        load_data(tmp_path)
    (street / "classes.txt").unlink()
    with pytest.raises(
        vp.VirtualPoolError, match=r"give classes=\[\.\.\.\], or a file classes\.txt"
    ):
        load_data(street)
    assert load_data(street, classes=2).classes == ["class 0", "class 1"]


@pytest.mark.parametrize("augmentation", ["flip", "crop", "resized crop", "none"])
def test_an_image_and_its_mask_move_together(street, augmentation):
    crop = None if augmentation in ("flip", "none") else (30, 20)
    prepared = Preparation(crop=crop, augmentation=augmentation, mean=(0, 0, 0), std=(1, 1, 1))
    data = load_data(street, workers=0, batch_size=4, preparation=prepared)
    assert data.train is not None
    torch.manual_seed(0)
    for images, masks in data.train:
        assert masks.shape[1:] == (crop or (24, 32))
        bright = images.mean(1) > 0.45
        wrong = (bright != (masks == 1)) & (masks != 255)
        # Resized, its edges are blurred.
        assert float(wrong.float().mean()) <= (0.06 if augmentation == "resized crop" else 0)


def test_images_and_masks_are_resized_together(street):
    data = load_data(street, workers=0, preparation=Preparation(resize=12))
    images, masks = next(iter(data.test))
    assert (images.shape[2:], masks.shape[1:]) == ((12, 16), (12, 16))
    assert set(masks.unique().tolist()) <= {0, 1, 255}


@pytest.mark.parametrize("split", ["train", "test"])
def test_whole_images_of_several_sizes_come_singly(street, caplog, split):
    image((20, 20, 3), street / split / "other.png")
    image((20, 20), street / f"{split}annot" / "other.png")
    data = load_data(street, workers=0, batch_size=2)
    whole = data.some_training_images(5) if split == "train" else data.test
    assert sorted({tuple(masks.shape) for _, masks in whole}) == [(1, 20, 20), (1, 24, 32)]
    assert data.train is not None
    assert data.train.batch_size == (1 if split == "train" else 2)
    assert ("several sizes" in caplog.text) == (split == "train")
    cropped = Preparation(crop=(16, 16), augmentation="crop")
    cut = load_data(street, workers=0, batch_size=2, preparation=cropped).train
    assert cut is not None
    assert next(iter(cut))[1].shape == (2, 16, 16)


def test_an_error_of_a_process_that_loads_comes_without_its_traceback():
    caught = "Caught VirtualPoolError in DataLoader worker process 0.\nOriginal Traceback (most "
    lines = 'recent call last):\n  raise VirtualPoolError("Too")\nvirtualpool.errors.'
    error = vp.VirtualPoolError(f"{caught}{lines}VirtualPoolError: Too narrow.\n")
    assert str(error) == "Too narrow."


def test_one_channel_is_no_class_each():
    with pytest.raises(vp.VirtualPoolError, match="one channel"):
        logits_of(torch.zeros(1, 1, 2, 2), 1, (2, 2))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"augmentation": "turn"}, "augmentation is 'turn'; there are: none, flip"),
        ({"augmentation": "crop"}, "'crop' crops, and no size is given"),
    ],
)
def test_a_preparation_that_does_not_exist_is_refused(options, said):
    with pytest.raises(vp.VirtualPoolError, match=said):
        Preparation(**options)


def test_the_loss_weighs_classes_and_ignores_pixels(street):
    weights = load_data(street, workers=0).class_weights()
    # The median of two shares is the smaller one, the car's.
    assert weights[1] == 1.0
    assert weights[0] == pytest.approx(120 / (23 * 32 - 120), abs=1e-3)
    logits, mask = torch.rand(1, 2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.int64)
    mask[0, 1], mask[0, 2] = 1, 255
    each = nn.functional.cross_entropy(logits, mask, reduction="none", ignore_index=255)
    expected = (each[0, 0].sum() + 3 * each[0, 1].sum()) / (3 + 9)
    assert torch.allclose(PixelLoss((1.0, 3.0))(nn.Identity(), (logits, mask)), expected)

    class Two(nn.Module):
        def forward(self, x):
            return {"out": x, "aux": x}

    twice = PixelLoss((1.0, 3.0))(Two(), (logits, mask))
    assert torch.allclose(twice, 1.4 * expected)
