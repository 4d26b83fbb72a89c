"""Small look-alikes of torchvision's networks: reconstruction makes none of them worse."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.fuse.networks import with_statistics
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FrozenBatchNorm2d, Permute, SqueezeExcitation

import virtualpool as vp
from virtualpool.graph.inputs import tensors
from virtualpool.recover.reconstruction import reconstruct

Normed = Callable[[int], nn.Module]


def block(inputs: int, outputs: int, size: int = 3, norm: Normed = nn.BatchNorm2d, **more: Any):
    convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False, **more)
    return nn.Sequential(convolution, norm(outputs), nn.ReLU(inplace=True))


class Sum(nn.Module):
    """A residual block."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layers(x)
        out += x
        return out.relu_()


class Dense(nn.Module):
    """Layers that read all maps before them, as DenseNet's do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8 + 4 * it), nn.ReLU(), nn.Conv2d(8 + 4 * it, 4, 3, 1, 1))
            for it in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.layers:
            maps.append(layer(torch.cat(maps, 1)))
        return torch.cat(maps, 1)


class Shuffle(nn.Module):
    """Half of the channels through a branch, then shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            block(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4),
            block(4, 4, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        kept, given = x.chunk(2, 1)
        x = torch.cat([kept, self.branch(given)], 1)
        return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


def inception() -> nn.Module:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = block(8, 4, 1), nn.Sequential(block(8, 4, 1), block(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.one(x), self.two(x)], 1)

    return classifier(block(3, 8), Branches())


def classifier(*layers: nn.Module, channels: int = 8) -> nn.Module:
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4)
    return nn.Sequential(*layers, *head)


def next_block() -> nn.Module:
    return Sum(
        nn.Conv2d(8, 8, 7, padding=3, groups=8), Permute([0, 2, 3, 1]), nn.LayerNorm(8),
        nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8), Permute([0, 3, 1, 2]),
    )  # fmt: skip


class Detector(nn.Module):
    """Images of changing size, a head shared by two levels, and the best boxes of each image."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.down = block(3, 8), nn.Sequential(nn.MaxPool2d(2), block(8, 8))
        self.head = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 1))
        self.refined = nn.Linear(5, 4)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        return [self.found(image) for image in images]

    def found(self, image: Tensor) -> dict[str, Tensor]:
        if not image.isfinite().all():
            raise ValueError  # a question that no trace can ask: the parts are traced apart
        fine = self.body(image.unsqueeze(0))
        levels = [self.head(level).flatten(2)[0].T for level in (fine, self.down(fine))]
        given = torch.cat(levels)
        best = given[given[:, 4].topk(6).indices]
        return {"boxes": self.refined(best), "scores": best[:, 4]}


class Segmenter(nn.Module):
    """Several outputs, enlarged."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(block(3, 8), nn.MaxPool2d(2), block(8, 8))
        self.out, self.auxiliary = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.body(images)
        size = images.shape[-2:]
        return {
            "out": functional.interpolate(self.out(x), size, mode="bilinear"),
            "aux": functional.interpolate(self.auxiliary(x), size, mode="bilinear"),
        }


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: classifier(
        block(3, 8), Sum(block(8, 8), nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8))
    ),
    "frozen norms": lambda: classifier(block(3, 8, norm=FrozenBatchNorm2d), block(8, 8, stride=2)),
    "mobilenet": lambda: classifier(
        block(3, 8),
        Sum(block(8, 16, 1), block(16, 16, groups=16), SqueezeExcitation(16, 4), block(16, 8, 1)),
    ),
    "densenet": lambda: classifier(block(3, 8), Dense(), channels=16),
    "shufflenet": lambda: classifier(block(3, 8), Shuffle()),
    "googlenet": inception,
    "regnet": lambda: classifier(block(3, 8), block(8, 8, groups=2), nn.MaxPool2d(2), block(8, 8)),
    "squeezenet": lambda: classifier(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Dropout(), nn.Conv2d(8, 8, 1), nn.ReLU()
    ),
    "convnext": lambda: classifier(nn.Conv2d(3, 8, 2, 2), next_block(), next_block()),
    "segmentation": Segmenter,
}


def images(count: int = 24, size: int = 16) -> Tensor:
    noise = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return functional.interpolate(noise, (size, size), mode="bicubic")


def made(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    model = make().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            with_statistics(module)
    return model


@torch.no_grad()
def error(model: nn.Module, original: nn.Module, x: Tensor) -> float:
    outputs = zip(tensors(model(x)), tensors(original(x)), strict=True)
    return sum(float((one - other).square().sum()) for one, other in outputs)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_no_network_is_worse(make):
    original, x = made(make), images()
    pooled = vp.apply(original, x[:1])
    solved = reconstruct(pooled, original, x.split(4))
    assert error(solved, original, x) < 0.9 * error(pooled, original, x)


def test_a_detector_is_judged_by_what_its_boxes_are_selected_of():
    original: Any = made(Detector)
    batches = [([x[:, : 16 - step], x[:, :, : 12 + step]],) for step, x in enumerate(images(9))]
    pooled = vp.apply(original, batches[0])
    solved = reconstruct(pooled, original, batches)
    assert torch.equal(solved.get_parameter("refined.weight"), original.refined.weight)
    distances = []
    both: list[Any] = [solved, pooled]
    for model in both:
        with torch.no_grad():
            found = [
                model.head(model.body(x[None])) - original.head(original.body(x[None]))
                for (given,) in batches
                for x in given
            ]
        distances.append(sum(float(each.square().sum()) for each in found))
    assert distances[0] < 0.95 * distances[1]
