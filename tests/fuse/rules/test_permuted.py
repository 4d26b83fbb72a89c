"""Permuted maps: the axes of their rows and columns, and operations that keep means there."""

import copy
from collections.abc import Callable

import pytest
import torch
from tests.fuse.checks import fused_alike, images
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import Permute, StochasticDepth

Operation = Callable[[Tensor], Tensor]
CHANNELS = 4


class Net(nn.Module):
    """A site, operations with its channels last, and a convolution that reads the result."""

    def __init__(self, operation: Operation | nn.Sequential, reads: nn.Module) -> None:
        super().__init__()
        self.site, self.reads = nn.Conv2d(3, 4, 3, padding=1), reads
        if isinstance(operation, nn.Module) and not isinstance(operation, nn.Sequential):
            operation = nn.Sequential(operation)
        # One after another: a module in which there is no convolution is one operation in a trace.
        self.operations = operation if isinstance(operation, nn.Sequential) else [operation]

    def forward(self, x: Tensor) -> Tensor:
        value = self.site(x).relu().permute(0, 2, 3, 1)
        for operation in self.operations:
            value = operation(value)
        return self.reads(value.permute(0, 3, 1, 2))


def fused_sites(operation: Operation, reads: nn.Module) -> tuple[str, ...]:
    torch.manual_seed(0)
    model = copy.deepcopy(Net(operation, reads)).double().eval()
    others = [images(9, 8), images(12, 12, batch=1).to(memory_format=torch.channels_last)]
    return fused_alike(model, images(), ["site"], others=others).fused


KEEP_MEANS: dict[str, Operation] = {
    "nothing": lambda x: x,
    "linear": nn.Linear(4, 4),
    "no bias": nn.Linear(4, 4, bias=False),
    "a function": lambda x: functional.linear(x, torch.eye(4, dtype=x.dtype)),
    "a number for each channel": lambda x: x * torch.arange(1.0, 5, dtype=x.dtype),
    "stochastic depth": StochasticDepth(0.5, "row"),
    "dropout": nn.Dropout(),
    "contiguous": lambda x: x.contiguous(),
    "there and back": lambda x: x.permute((0, 3, 1, 2)).permute(0, -2, -1, 1),
    "back by a module": nn.Sequential(Permute([0, 3, 1, 2]), Permute([0, 2, 3, 1])),
    "by torch": lambda x: torch.permute(torch.permute(x, dims=(0, 1, 3, 2)), [0, 1, 3, 2]),
    "sum": lambda x: x + 2 * x,
}  # fmt: skip
KEEP_POSITIONS: dict[str, Operation] = {
    "layer norm": nn.LayerNorm(4),
    "a function of the shape": lambda x: functional.layer_norm(x, (x.shape[-1],)),
    "root mean square norm": nn.RMSNorm(4),
    "an activation": nn.GELU(),
    "another": lambda x: functional.silu(x),
    "the block of ConvNeXt": nn.Sequential(
        nn.LayerNorm(4, eps=1e-6), nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4)
    ),
    "product": lambda x: x * x,
}
OTHERS: dict[str, Operation] = {
    "layer norm over more": nn.LayerNorm([13, 4]),
    "layer norm over all": lambda x: functional.layer_norm(x, x.shape[1:]),
    "softmax of columns": lambda x: x.softmax(2),
    "flipped": lambda x: x.flip(1),
    "over columns": lambda x: nn.functional.layer_norm(x.transpose(2, 3), (x.shape[2],)).mT,
    "weights of rows": lambda x: functional.prelu(x, torch.linspace(0, 1, x.shape[1]).to(x)),
    "a weight": nn.PReLU(),
    "plus rows": lambda x: x + torch.arange(x.shape[1]).to(x)[:, None, None],
    "plus its channels first": lambda x: x[:, :4, :4] + x[:, :4, :4].permute(0, 3, 1, 2),
}


@pytest.mark.parametrize("operation", KEEP_MEANS.values(), ids=KEEP_MEANS)
def test_what_keeps_means_is_folded_into_what_reads_it(operation):
    assert fused_sites(operation, nn.Conv2d(4, 4, 3, 2, 1)) == ("site",)
    assert fused_sites(operation, nn.Conv2d(4, 4, 1, 2)) == ("site",)


@pytest.mark.parametrize("operation", KEEP_POSITIONS.values(), ids=KEEP_POSITIONS)
def test_what_keeps_positions_is_computed_at_those_that_are_read(operation):
    assert fused_sites(operation, nn.Conv2d(4, 4, 1, 2)) == ("site",)
    assert fused_sites(operation, nn.Conv2d(4, 4, 3, 2, 1)) == ()


@pytest.mark.parametrize("name", OTHERS)
def test_what_does_not_is_computed_in_full(name):
    torch.manual_seed(0)
    model = Net(OTHERS[name], nn.Conv2d(4, 4, 1, 2)).double().eval()
    assert fused_alike(model, images(), ["site"], others=[images(12, 13, batch=1)]).fused == ()


class Weighted(nn.Module):
    """Modules whose weights are for the second axis, of a map whose rows are there."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.site, self.module, self.reads = nn.Conv2d(3, 4, 1), module, nn.Conv2d(4, 4, 1, 2)

    def forward(self, x):
        return self.reads(self.module(self.site(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


@pytest.mark.parametrize("module", [nn.PReLU(12), nn.BatchNorm2d(12)])
def test_weights_of_the_second_axis(module):
    for parameter in module.parameters():
        nn.init.uniform_(parameter)
    model = Weighted(module).double().eval()
    assert fused_alike(model, images(), ["site"], others=[images(12, 9)]).fused == ()


class Unaware(nn.Module):
    """A site that reads the rows of a permuted map as channels, and pools its own map."""

    def __init__(self) -> None:
        super().__init__()
        self.site, self.reads = nn.Conv2d(3, 4, 1), nn.Conv2d(12, 5, 3, padding=1)

    def forward(self, x):
        value = self.site(x).permute(0, 2, 3, 1)
        return self.reads(value).relu(), functional.max_pool2d(value, 2), value.mean((2, 3))


@pytest.mark.parametrize("names", ["all", ["site"], ["reads"]])
def test_what_takes_other_axes_for_rows_and_columns(names):
    others = [images(12, 9), images(12, 16, batch=1)]
    fused_alike(Unaware().double().eval(), images(), names, others=others)


class LastImages(nn.Module):
    """Images come with their channels last; of these the network makes maps as others are."""

    def __init__(self) -> None:
        super().__init__()
        self.site, self.reads = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        return self.reads(self.site(x.permute(0, 3, 1, 2)).relu())


def test_images_with_channels_last():
    model, given = LastImages().double().eval(), images().permute(0, 2, 3, 1)
    others = [images(9, 14).permute(0, 2, 3, 1)]
    assert fused_alike(model, given, others=others).fused == ("site",)


class Asked(nn.Module):
    """A permuted map that is wanted in all ways, and its shape."""

    def __init__(self) -> None:
        super().__init__()
        self.site, self.even, self.full = (
            nn.Conv2d(3, 4, 1),
            nn.Conv2d(4, 4, 1, 2),
            nn.Conv2d(4, 2, 3),
        )

    def forward(self, x):
        value = torch.tanh(self.site(x).permute(0, 2, 3, 1))
        back = value.permute(0, 3, 1, 2)
        return (
            self.even(back) * value.shape[1] + value.size(-1),
            self.full(back),
            value.amax((1, 2)),
        )


@pytest.mark.parametrize("names", ["all", ["site"], ["even"]])
def test_all_questions_and_sizes(names):
    fused_alike(Asked().double().eval(), images(), names, others=[images(9, 8), images(8, 9)])
