import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights, get_weight

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.preprocessing import Preprocessing


def image(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "name",
    [
        "ResNet50_Weights.IMAGENET1K_V1",
        "ResNet50_Weights.IMAGENET1K_V2",  # resized to 232
        "EfficientNet_B0_Weights.IMAGENET1K_V1",  # bicubic
        "Inception_V3_Weights.IMAGENET1K_V1",  # 299
    ],
)
@pytest.mark.parametrize("size", [(400, 300), (250, 400)])
def test_evaluation_equals_torchvisions_preset(name, size):
    picture = image(*size)
    expected = get_weight(name).transforms()(picture)
    preprocessing = Preprocessing.of(name)
    found = preprocessing.normalised(preprocessing.pixels(picture, training=False)[None])
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_weights_may_be_given_as_they_are():
    weights = ResNet50_Weights.IMAGENET1K_V2
    assert Preprocessing.of(weights) == Preprocessing.of("ResNet50_Weights.IMAGENET1K_V2")


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_kind_of_image_becomes_three_channels(mode):
    pixels = Preprocessing(16).pixels(image(16, 16).convert(mode), training=False)
    assert pixels.shape == (3, 16, 16)
    assert pixels.dtype == torch.uint8


def test_an_image_of_the_size_is_taken_as_it_is():
    picture = image(32, 32)
    pixels = Preprocessing(32).pixels(picture, training=False)
    assert torch.equal(pixels, torch.from_numpy(np.array(picture)).permute(2, 0, 1))


def variants(pixels: np.ndarray, *, padding: int, flip: bool) -> dict[bytes, tuple[int, int, bool]]:
    """All that an augmentation may make of an image (3, H, W), by plain loops."""
    height, width = pixels.shape[1:]
    found = {}
    for down in range(-padding, padding + 1):
        for right in range(-padding, padding + 1):
            moved = np.zeros_like(pixels)
            for row in range(height):
                for column in range(width):
                    if 0 <= row + down < height and 0 <= column + right < width:
                        moved[:, row, column] = pixels[:, row + down, column + right]
            found[moved.tobytes()] = (down, right, False)
            if flip:
                found[moved[:, :, ::-1].copy().tobytes()] = (down, right, True)
    return found


@pytest.mark.parametrize(
    ("augmentation", "padding", "flip"), [("none", 0, False), ("flip", 0, True), ("crop", 4, True)]
)
def test_augmentation_is_drawn_for_each_image(augmentation, padding, flip):
    torch.manual_seed(0)
    pixels = torch.randint(256, (3, 7, 10), dtype=torch.uint8)
    batch = pixels.repeat(200, 1, 1, 1)
    known = variants(pixels.numpy(), padding=padding, flip=flip)
    drawn = [
        known[one.numpy().copy().tobytes()]
        for one in Preprocessing(10, augmentation=augmentation).augmented(batch)
    ]
    downs, rights, flips = (set(values) for values in zip(*drawn, strict=True))
    every = set(range(-padding, padding + 1))
    assert (downs, rights) == (every, every)
    assert flips == ({False, True} if flip else {False})
    assert torch.equal(batch, pixels.repeat(200, 1, 1, 1)), "the kept images were changed"


def test_resized_crops_differ_in_training_only():
    preprocessing, picture = Preprocessing(8, augmentation="resized crop"), image(40, 30)
    torch.manual_seed(0)
    crops = [preprocessing.pixels(picture, training=True) for _ in range(4)]
    assert all(crop.shape == (3, 8, 8) for crop in crops)
    assert not any(torch.equal(crops[0], other) for other in crops[1:])
    assert torch.equal(
        preprocessing.pixels(picture, training=False),
        Preprocessing(8).pixels(picture, training=False),
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Preprocessing(8, augmentation="mixup"),  # pyright: ignore[reportArgumentType]
            "augmentation is 'mixup'; there are: none",
        ),
        (lambda: Preprocessing(8, interpolation="linear"), "interpolation is 'linear'; there are"),
        (lambda: Preprocessing.of("ResNet50_Weights.V9"), "no weights 'ResNet50_Weights.V9'"),
        (lambda: Preprocessing.of("resnet50"), "no weights 'resnet50'; write them as in"),
        (
            lambda: Preprocessing.of("FasterRCNN_ResNet50_FPN_Weights.COCO_V1"),
            "not for classification; give a Preprocessing",
        ),
    ],
)
def test_what_does_not_exist_is_refused(make, message):
    with pytest.raises(VirtualPoolError, match=message):
        make()
