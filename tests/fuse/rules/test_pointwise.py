"""Operations on each element: which are known to keep means, which to keep positions."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.fuse.checks import fused_alike, images
from tests.fuse.networks import with_statistics
from torch import Tensor, nn
from torch.nn import functional


class Net(nn.Module):
    """A site, the operation under test, and a convolution that reads its result."""

    def __init__(self, operation: Callable[[Tensor], Any], reads: nn.Module) -> None:
        super().__init__()
        self.site, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.operation = operation
        self.reads = reads

    def forward(self, x: Tensor) -> Tensor:
        return self.reads(self.operation(self.site(x).relu()))


class Two(Net):
    """The same on two maps."""

    def forward(self, x: Tensor) -> Tensor:
        return self.reads(self.operation(self.site(x).relu(), self.other(x).sigmoid()))  # pyright: ignore


def named(name: str, module: nn.Module) -> nn.Module:
    """A module of a class with a name that is known from a library."""
    kind = type(module)
    module.__class__ = type(name, (kind,), {"__module__": "library", "forward": kind.forward})
    return module


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class OverChannels(nn.Module):
    """torchvision's LayerNorm2d."""

    def forward(self, x):
        return functional.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2)


class OverAll(nn.Module):
    def forward(self, x):
        return functional.layer_norm(x, x.shape[1:])


class Noisy(nn.ReLU):
    """An activation by its class alone."""

    def forward(self, input):
        return super().forward(input) + input.amax((2, 3), keepdim=True)


class NormAndActivation(nn.BatchNorm2d):
    """As timm has it."""

    def __init__(self, channels: int, over_all: bool) -> None:
        super().__init__(channels)
        self.activation = nn.ReLU()
        self.over_all = over_all

    def forward(self, input):
        out = self.activation(super().forward(input))
        return out - out.mean((2, 3), keepdim=True) if self.over_all else out


class PerChannel(nn.Module):
    """A scale and a shift for each channel, as parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4, 1, 1) + 0.5)
        self.shift = nn.Parameter(torch.rand(1, 4, 1, 1))
        self.inner = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.inner(x * self.scale + self.shift)


AFFINE: dict[str, Any] = {
    "nothing": lambda x: x,
    "identity": nn.Identity(),
    "times a number": lambda x: x * 3,
    "a number times": lambda x: 3 * x,
    "over a number": lambda x: x / 2,
    "and a number": lambda x: x + 0.5,
    "a number less": lambda x: 1 - x,
    "negated": lambda x: -x,
    "its own sum": lambda x: x + x,
    "methods": lambda x: x.mul(2).add(1).sub(0.5).div(3).neg(),
    "functions": lambda x: torch.div(torch.mul(torch.add(x, x, alpha=2), 2), 3),
    "per channel": PerChannel(),
    "per image": lambda x: x * torch.arange(1.0, x.shape[0] + 1).view(-1, 1, 1, 1),
    "gated": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "gate first": lambda x: functional.adaptive_avg_pool2d(x, 1).sigmoid() * x,
    "less its mean": lambda x: x - x.mean((2, 3), keepdim=True),
    "batch norm": with_statistics(nn.BatchNorm2d(4)),
    "batch norm without weights": with_statistics(nn.BatchNorm2d(4, affine=False)),
    "batch norm as a function": lambda x: functional.batch_norm(
        x, torch.zeros(4).double(), torch.ones(4).double(), None, None, False, 0.1, 1e-5
    ),
    "dropout": nn.Dropout(),
    "dropout of channels": nn.Dropout2d(inplace=True),
    "dropout as a function": lambda x: functional.dropout(x, 0.5, training=False),
    "stochastic depth": named("StochasticDepth", nn.Identity()),
    "contiguous": lambda x: x.contiguous(),
    "a copy": lambda x: x.clone(),
    "kernel of one": nn.Conv2d(4, 4, 1),
}
POINTWISE: dict[str, Any] = {
    "relu": nn.ReLU(),
    "prelu": nn.PReLU(4),
    "hardswish": nn.Hardswish(inplace=True),
    "gelu": nn.GELU(approximate="tanh"),
    "silu": lambda x: functional.silu(x),
    "clamp": lambda x: x.clamp(0.1, 0.3),
    "softplus": lambda x: functional.softplus(x, beta=2),
    "of one's own": Swish(),
    "rounded quotient": lambda x: torch.div(x, 0.1, rounding_mode="floor"),
    "square": lambda x: x * x,
    "times itself gated": lambda x: x * torch.sigmoid(x),
    "under": lambda x: 1 / (x + 1),
    "functions": lambda x: torch.exp(-torch.abs(x)) + torch.sqrt(x),
    "methods": lambda x: x.exp().abs().sqrt(),
    "larger": lambda x: torch.maximum(x, x * 0.5),
    "normalised over channels": named("LayerNorm2d", OverChannels()),
    "normalised and activated": with_statistics(NormAndActivation(4, False)),
    "norm without statistics": lambda x: functional.relu6(x),
}
OTHER: dict[str, Any] = {
    "group norm": nn.GroupNorm(2, 4),
    "instance norm": nn.InstanceNorm2d(4),
    "batch norm without statistics": nn.BatchNorm2d(4, track_running_stats=False),
    "batch norm that measures": lambda x: functional.batch_norm(
        x, torch.zeros(4).double(), torch.ones(4).double(), None, None, True
    ),
    "softmax over columns": lambda x: x.softmax(3),
    "cumulated": lambda x: x.cumsum(2),
    "turned": lambda x: x.flip(3),
    "another name": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "and positions": lambda x: x + torch.arange(x.shape[3]),
    "and rows": lambda x: x * torch.arange(x.shape[2]).view(-1, 1),
    "normalised over all": named("LayerNorm2d", OverAll()),
    "activation that does more": Noisy(),
    "normalised over the map and activated": with_statistics(NormAndActivation(4, True)),
    "frozen by name alone": named("FrozenBatchNorm2d", OverAll()),
    "always dropped": lambda x: functional.dropout(x, 0.5, training=True),
    "always dropped, another spelling": lambda x: torch.dropout(x, 0.5, True),
}
CASES = [
    pytest.param(operation, kind, id=f"{kind}: {name}")
    for kind, table in [("affine", AFFINE), ("pointwise", POINTWISE), ("other", OTHER)]
    for name, operation in table.items()
]


@pytest.mark.parametrize(("operation", "kind"), CASES)
def test_what_is_known_of_one_map(operation, kind):
    """An affine one is read as reduced, a pointwise one at even positions, others in full."""
    torch.manual_seed(0)
    for reads, known in (
        (nn.Conv2d(4, 4, 3, 2, 1), ["affine"]),
        (nn.Conv2d(4, 4, 1, 2), ["affine", "pointwise"]),
    ):
        model = Net(operation, reads).double().eval()
        report = fused_alike(model, images(), ["site"], others=[images(9, 9, batch=1)])
        assert ("site" in report.fused) == (kind in known)
        # Not even the map's shape is asked of it in full where it is fused.
        assert bool(report.interpolations) == (kind not in known)


PAIRS: dict[str, tuple[Any, str]] = {
    "sum": (lambda x, y: x + y, "affine"),
    "difference": (torch.sub, "affine"),
    "weighted": (lambda x, y: torch.add(x, y, alpha=0.5) * 2, "affine"),
    "product": (lambda x, y: x * y, "pointwise"),
    "quotient": (lambda x, y: x / (y + 1), "pointwise"),
    "larger": (torch.maximum, "pointwise"),
    "beside, turned": (lambda x, y: x + y.flip(2), "other"),
    "of the mean": (lambda x, y: x * y.mean((2, 3), keepdim=True), "affine"),
    "a row of it": (lambda x, y: x + y[:, :, :1], "other"),
}


@pytest.mark.parametrize(("operation", "kind"), PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("names", [["site", "other"], ["site"], ["other"]])
def test_what_is_known_of_two_maps(operation, kind, names):
    torch.manual_seed(0)
    for reads in (nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 1, 2)):
        model = Two(operation, reads).double().eval()
        report = fused_alike(model, images(), names, others=[images(9, 9, batch=1)])
        if len(names) == 2 and isinstance(reads.kernel_size, tuple):
            fused = kind == "affine" or (kind == "pointwise" and reads.kernel_size == (1, 1))
            assert (not report.interpolations) == fused


def test_the_mode_of_dropout_is_that_of_the_call():
    model = Net(lambda x: functional.dropout(x, 0.5), nn.Conv2d(4, 4, 3, 2, 1)).double().eval()
    report = fused_alike(model, images(), ["site"])
    assert report.interpolations[0].asked_by == ("dropout",)
