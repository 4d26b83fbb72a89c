"""Inputs to reconstruction beyond plain networks and images: a right answer, or a message."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import virtualpool as vp
from virtualpool.recover.reconstruction import reconstruct


def images(count: int = 20, channels: int = 3) -> Tensor:
    noise = torch.randn(count, channels, 4, 4, generator=torch.Generator().manual_seed(1))
    return functional.interpolate(noise, (12, 12), mode="bicubic")


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4),
    ).eval()  # fmt: skip


def error(model: nn.Module, original: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return float((model(x).float() - original(x).float()).square().mean())


def weights(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters())


BATCHES: dict[str, Callable[[], Any]] = {
    "an iterator": lambda: iter(images().split(4)),
    "empty ones between": lambda: [torch.zeros(0, 3, 12, 12), *images().split(4)],
    "dicts": lambda: [{"labels": 1, "pixel_values": each} for each in images().split(4)],
    "other labels": lambda: [(each, {"boxes": None}) for each in images().split(4)],
    "a loader": lambda: torch.utils.data.DataLoader(images(), 4),  # pyright: ignore
    "double precision": lambda: [each.double() for each in images().split(4)],
}


@pytest.mark.parametrize("make", BATCHES.values(), ids=BATCHES)
def test_batches_of_each_kind_lead_to_the_same_weights(make):
    original = chain()
    pooled = vp.apply(original, images(1))
    expected = reconstruct(pooled, original, images().split(4))
    assert not torch.equal(weights(expected), weights(pooled))
    torch.testing.assert_close(weights(reconstruct(pooled, original, make())), weights(expected))


class Detector(nn.Module):
    """Is called with a list of images of any sizes, as detectors are."""

    def __init__(self) -> None:
        super().__init__()
        self.body = chain()

    def forward(self, images: list[Tensor]) -> list[Tensor]:
        return [self.body(image[None])[0] for image in images]


@pytest.mark.parametrize("size", [1, 2])  # two are no pair of images and labels
def test_lists_of_images_are_batches_of_a_detector(size):
    original, every = Detector().eval(), [*images()]
    pooled = vp.apply(original, every[:1], ["body.2"])
    alone = [every[at : at + size] for at in range(0, len(every), size)]
    expected = reconstruct(pooled, original, [(each, [{}] * len(each)) for each in alone])
    assert not torch.equal(weights(expected), weights(pooled))
    assert torch.equal(weights(reconstruct(pooled, original, alone)), weights(expected))


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "none": (list, "two images"),
    "no images": (lambda: [torch.zeros(0, 3, 12, 12)], "two images"),
    "one tensor": (lambda: images(), "batches are one tensor.*split"),
    "a folder": (lambda: "folder", "A batch is 'f'; give images"),
    "paths": (lambda: [Path("a.png")], "A batch is 'a.png'; give images"),
    "dicts of no images": (lambda: [{"image": images()[0]}], "dict of image, and 0 of these"),
    "dicts of two": (lambda: [{"left": images(), "right": images()}], "left, right, and 2 of"),
    "channels": (lambda: [images(), images(4, 2)], "does not take batch 1, .*channels"),
    "size": (lambda: [images()[..., :1, :1]], "does not take batch 0"),
    "single images": (lambda: [images()[0, :, :1, :1]], "a single image: give batches"),
    "NaN": (lambda: [images(), images() * torch.nan], "0 reads.*not finite"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_batches_are_refused(case):
    make, message = WRONG[case]
    original = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3)).eval()
    pooled = vp.apply(original, images(1), ["0"])
    with pytest.raises(vp.VirtualPoolError, match=message):
        reconstruct(pooled, original, make())


def test_weights_that_are_not_finite_are_refused():
    original = chain()
    original.get_parameter("2.weight").data[0].fill_(torch.inf)
    with pytest.raises(vp.VirtualPoolError, match=r"2 reads, or gives.*not finite"):
        reconstruct(vp.apply(original, images(1)), original, [images()])


@pytest.mark.parametrize("dead", [0.0, 5.0, 1e4])
def test_channels_without_variance_get_no_large_weights(dead):
    original = chain()
    x = images()
    x[:, 1] = dead
    pooled = vp.apply(original, x[:1])
    solved = reconstruct(pooled, original, x.split(4))
    assert error(solved, original, x) < error(pooled, original, x)
    for its, before in zip(solved.parameters(), pooled.parameters(), strict=True):
        if its.ndim > 1:
            assert its.abs().max() < 10 * before.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_solved(dtype):
    original = chain().to(dtype)
    x = 30 * images()  # squares beyond the range of float16
    pooled = vp.apply(original, x[:1].to(dtype))
    solved = reconstruct(pooled, original, x.split(4))
    assert solved.get_parameter("0.weight").dtype is dtype
    x = x.to(dtype)
    assert error(solved, original, x) < 0.7 * error(pooled, original, x)


class Bytes(nn.Module):
    """Takes images as they are decoded."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = chain()

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.float() / 255)


def test_images_of_whole_numbers_stay_whole():
    original = Bytes().eval()
    x = (images() * 40 + 128).clamp(0, 255).byte()
    pooled = vp.apply(original, x[:1])
    solved = reconstruct(pooled, original, x.split(4))
    assert error(solved, original, x) < error(pooled, original, x)


def test_models_keep_their_mode():
    original = chain().train()
    pooled = vp.apply(original, images(1)).train()
    solved = reconstruct(pooled, original, [images()])
    assert solved.training
    assert pooled.training
    assert original.training
    assert not torch.equal(weights(solved), weights(pooled))


class Noisy(nn.Module):
    """Drops some of its map in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        x = functional.dropout(self.one(images), 0.3, training=True)
        return self.two(x) + torch.randn(1)


@pytest.mark.parametrize("memory", [0.0, 4.0])
def test_both_models_draw_the_same_random_numbers(memory):
    original = Noisy().eval()
    pooled = vp.apply(original, images(1))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    solved = reconstruct(pooled, original, images().split(4), memory_gib=memory)
    assert torch.equal(torch.get_rng_state(), before)

    def drawn(model: nn.Module) -> Tensor:
        torch.manual_seed(7)
        return model(images())

    wanted = drawn(original)
    assert (drawn(solved) - wanted).norm() < (drawn(pooled) - wanted).norm()


def test_too_few_images_are_counted(caplog):
    original = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(600, 2)).eval()
    with caplog.at_level(logging.WARNING, "virtualpool"):
        reconstruct(vp.apply(original, images(1)), original, [images()])
    assert "1 layer with fewer equations than unknowns" in caplog.text
    assert (
        "About 750 images would be enough for 2" in caplog.text
    )  # a row an image, a fifth held out


class Special(nn.Module):
    """Layers that no least-squares problem is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 6, 2, 2)
        self.normed = parametrizations.weight_norm(nn.Conv2d(6, 6, 1))
        self.tied, self.other = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
        self.other.weight = self.tied.weight
        self.line = nn.Conv1d(6, 6, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.up(self.stem(images).relu())
        x = self.other(self.tied(self.normed(x)).relu())
        return self.line(x.flatten(2))


def test_what_cannot_be_solved_is_named(caplog):
    original = Special().eval()
    pooled = vp.apply(original, images(1), ["stem"])
    with caplog.at_level(logging.INFO, "virtualpool"):
        reconstruct(pooled, original, images().split(4))
    reasons = {
        "up": "no plain convolution or linear layer but a ConvTranspose2d",
        "normed": "no plain convolution",
        "line": "no plain convolution or linear layer but a Conv1d",
    }
    for name, reason in reasons.items():
        assert f"{name} keeps its weights: it {reason.replace('no plain', 'is no plain')}" in (
            caplog.text
        )
    assert "tied, other keep their weights, each because: it shares its weight" in caplog.text


class Shared(nn.Module):
    """A convolution called for two levels, with a norm each; and a norm of two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.side = (nn.Conv2d(3, 6, 3, padding=1, bias=False) for _ in range(2))
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(2))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.norm(self.stem(images)).relu() + self.norm(self.side(images)).relu()
        levels = [x, functional.avg_pool2d(x, 2)]
        names = zip(("large", "small"), levels, self.norms, strict=True)
        return {name: norm(self.head(input=level)).relu() for name, level, norm in names}


@pytest.mark.parametrize("sites", ["all", ["stem"]])
def test_shared_layers_and_norms_take_no_shift_of_one_call(sites):
    torch.manual_seed(0)
    original = Shared().eval()
    pooled = vp.apply(original, images(1), sites)
    solved = reconstruct(pooled, original, images().split(4))
    for name, buffer in pooled.named_buffers():
        assert torch.equal(solved.get_buffer(name), buffer)
    assert not torch.equal(solved.get_parameter("head.weight"), original.head.weight)
    for level in ("large", "small"):
        wanted = original(images())[level]
        distances = [(model(images())[level] - wanted).norm() for model in (solved, pooled)]
        assert distances[0] < distances[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("memory", [0.0, 4.0])
@pytest.mark.parametrize("make", [chain, Noisy])
def test_a_model_on_a_gpu_stays_there(make, memory):
    original = make().eval().cuda()
    pooled = vp.apply(original, images(1).cuda())
    solved = reconstruct(pooled, original, images().split(4), memory_gib=memory)
    assert all(each.is_cuda for each in solved.parameters())
    assert not torch.equal(weights(solved), weights(pooled))
