"""Operations along the channels pass the reduced map on, or are computed in full."""

from collections.abc import Callable

import pytest
import torch
from tests.fuse.checks import fused_alike, images
from torch import Tensor, nn
from torch.nn import functional


def shuffled(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    split = x.view(batch, 2, channels // 2, height, width)
    return split.transpose(1, 2).contiguous().view(batch, -1, height, width)


PASSED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "beside": lambda x, y: torch.cat([x, y], 1),
    "beside, by name": lambda x, y: torch.concat((x, y), dim=1),
    "twice": lambda x, y: torch.cat([x, x, y], 1),
    "halves": lambda x, y: torch.cat([x.chunk(2, 1)[1], x.chunk(2, 1)[0]], 1) + y,
    "halves, by name": lambda x, y: torch.chunk(x, 2, dim=1)[1] + y.chunk(2, dim=1)[-1],
    "split": lambda x, y: torch.split(x, 1, 1)[2] + y.split([1, 3], 1)[0],
    "slices": lambda x, y: torch.cat([x[:, :1], y[:, 1:3], x[:, ::2]], 1),
    "slices of all four": lambda x, y: torch.cat([x[:, :1, :, :], y[:, 1:3, ...]], 1),
    "counted from the end": lambda x, y: torch.cat([x.split(2, -3)[0], y], -3),
    "narrow": lambda x, y: x.narrow(1, 1, 2) + torch.narrow(y, dim=-3, start=0, length=2),
    "zeros beside": lambda x, y: functional.pad(x + y, (0, 0, 0, 0, 2, 2)),
    "ones before": lambda x, y: functional.pad(x, pad=[0, 0, 0, 0, 1, 0], value=1.0)[:, :4] + y,
    "channels cut off": lambda x, y: functional.pad(x * 2 - y, (0, 0, 0, 0, -1, 0)),
    "nothing of a padding": lambda x, y: functional.pad(x, (0, 0, 0, 0)) + y,
    "nothing of another padding": lambda x, y: functional.pad(x, [0] * 4, "replicate") + y,
    "the whole": lambda x, y: x[...] + y[:, :, :],
    "shuffled": lambda x, y: functional.channel_shuffle(x + y, 2),
    "shuffled by hand": lambda x, y: shuffled(torch.cat([x, y], 1)),
}
IN_FULL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "above": lambda x, y: torch.cat([x, y], 2),
    "batches": lambda x, y: torch.cat([x, y]),
    "parts of a computed size": lambda x, y: torch.split(x, [1, y.shape[1] - 1], 1)[1] + y[:, 1:],
    "halves, turned": lambda x, y: torch.cat(x.chunk(2, 1)[::-1], 1) + y,
    "parts as a list": lambda x, y: torch.stack(x.chunk(4, 1)).sum(0) + y,
    "a channel": lambda x, y: x[:, 0].unsqueeze(1) + y,
    "channels by number": lambda x, y: x[:, [1, 0]] + y[:, :2],
    "up to a computed one": lambda x, y: x[:, : y.size(1) // 2],
    "images": lambda x, y: x[:1] + y[:1],
    "columns": lambda x, y: x[..., 1:] + y[..., :-1],
    "rows": lambda x, y: x[:, :2, 1:, :] + y[:, :2, :-1, :],
    "from the last axes": lambda x, y: x[..., :, :2] + y[..., :, :2],
    "narrow rows": lambda x, y: x.narrow(2, 0, 3) + y.narrow(2, 1, 3),
    "narrow to a computed size": lambda x, y: x.narrow(1, 0, y.size(1) // 2),
    "every second column": lambda x, y: x[..., ::2] + y[:, :, :, ::2],
    "one more row": lambda x, y: functional.pad(x + y, (0, 0, 1, 1, 1, 1)),
    "channels mirrored": lambda x, y: functional.pad(
        (x + y)[None], (0, 0, 0, 0, 1, 1), mode="reflect"
    )[0],
    "computed padding": lambda x, y: functional.pad(x + y, (0, 0, 0, 0, 0, x.shape[1])),
    "turned": lambda x, y: x.flip(1) + y,
    "shuffled otherwise": lambda x, y: (
        x.view(x.shape[0], 2, -1, x.shape[2], x.shape[3]).flip(1).reshape(y.shape) + y
    ),
}


class Net(nn.Module):
    def __init__(self, operation: Callable[[Tensor, Tensor], Tensor], stride: int) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.operation = operation
        with torch.no_grad():
            channels = operation(torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, 4)).shape[1]
        self.reads = nn.Conv2d(channels, 4, 3, stride, 1)

    def forward(self, x):
        return self.reads(self.operation(self.one(x).relu(), self.other(x).sigmoid()))


@pytest.mark.parametrize("names", [["one", "other"], ["other"]])
@pytest.mark.parametrize("operation", PASSED.values(), ids=PASSED)
def test_the_reduced_map_is_passed_on(operation, names):
    model = Net(operation, 2).double().eval()
    report = fused_alike(model, images(), names, others=[images(9, 9, batch=1)])
    if len(names) == 2:
        assert not report.interpolations


@pytest.mark.parametrize("names", [["one", "other"], ["other"]])
@pytest.mark.parametrize("operation", IN_FULL.values(), ids=IN_FULL)
def test_what_is_not_known_is_computed_in_full(operation, names):
    model = Net(operation, 2).double().eval()
    report = fused_alike(model, images(), names, others=[images(9, 9)])
    if len(names) == 2:
        assert report.interpolations


@pytest.mark.parametrize("operation", (PASSED | IN_FULL).values(), ids=PASSED | IN_FULL)
def test_what_is_read_in_full_in_the_end(operation):
    model = Net(operation, 1).double().eval()
    fused_alike(model, images(), ["one", "other"], others=[images(9, 9)])


def test_shuffling_by_a_module():
    layers = [nn.Conv2d(3, 4, 3), nn.ChannelShuffle(2), nn.Conv2d(4, 4, 3, 2), nn.ReLU()]
    report = fused_alike(nn.Sequential(*layers).double().eval(), images(), ["0"])
    assert report.fused == ("0",)


class Branches(nn.Module):
    """The parts of one map, one of which is read in full, and one at even positions."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Conv2d(3, 4, 3, padding=1)
        self.full, self.even = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1, stride=2)

    def forward(self, x):
        one, other = functional.gelu(self.site(x)).square().chunk(2, 1)
        return self.full(one), self.even(other)


@pytest.mark.parametrize("names", [["site"], ["even"], ["full"], ["site", "full", "even"]])
def test_parts_of_which_different_things_are_asked(names):
    fused_alike(Branches().double().eval(), images(), names, others=[images(9, 9)])


class Shortcut(nn.Module):
    """Takes some rows and columns of a map, beside a convolution with a stride."""

    def __init__(self, operation: Callable[[Tensor], Tensor], stride: int = 2) -> None:
        super().__init__()
        self.site = nn.Conv2d(3, 4, 3, padding=1)
        self.main = nn.Conv2d(4, 4, 1, stride)
        self.operation = operation

    def forward(self, x):
        y = self.site(x).tanh()
        return self.main(y) + self.operation(y)


def option_a(x: Tensor) -> Tensor:
    return functional.pad(x[:, 2:, ::2, ::2], (0, 0, 0, 0, 1, 1))


EVEN: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "the even positions": (lambda x: x[:, :, ::2, ::2], 2),
    "from the last axes": (lambda x: x[..., ::2, ::2], 2),
    "from the first": (lambda x: x[:, :, 0::2, 0::2], 2),
    "with channels": (lambda x: torch.cat([x[:, 1:3, ::2, ::2], x[:, ::2, ::2, ::2]], 1), 2),
    "option A": (option_a, 2),
    "every fourth": (lambda x: x[..., ::4, ::4], 4),
    "twice": (lambda x: x[..., ::2, ::2][..., ::2, ::2], 4),
    "from a later one": (lambda x: x[..., 2::4, 4::4].mean((2, 3), keepdim=True), 4),
    "up to some": (lambda x: x[..., :8:2, :7:2].mean((2, 3), keepdim=True), 2),
    "some of the first": (lambda x: x[..., :8, 2:7][..., ::2, ::2].mean((2, 3), keepdim=True), 2),
    "no further than there is": (lambda x: x[:, :, : 2**63 - 1 : 2, :99:2], 2),
    "windows of one": (lambda x: functional.avg_pool2d(x, 1, 2), 2),
    "the largest of one": (lambda x: functional.max_pool2d(x, 1, 2, 0, ceil_mode=True), 2),
    "the largest of one, of four": (nn.MaxPool2d(1, 4), 4),
}
MIXED: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "odd positions": (lambda x: x[..., 1::2, 1::2].mean((2, 3), keepdim=True), 2),
    "every third": (lambda x: x[..., ::3, ::3], 3),
    "some rows": (lambda x: x[..., ::2, :][..., ::2], 2),
    "up to one of the last": (lambda x: x[..., :-2:2, ::2].mean((2, 3), keepdim=True), 2),
    "up to a computed one": (lambda x: x[..., : x.shape[2] - 1, :][..., ::2, ::2].mean(2, True), 2),
    "all four": (
        lambda x: (
            x[..., ::2, ::2] + x[..., 1::2, ::2].mean((2, 3), keepdim=True) + x[:, :1, ::2, ::2]
        ),
        2,
    ),
}


@pytest.mark.parametrize("size", [(12, 12), (13, 11), (16, 9)])
@pytest.mark.parametrize(("operation", "stride"), (EVEN | MIXED).values(), ids=EVEN | MIXED)
def test_every_second_row_and_column(operation, stride, size):
    model = Shortcut(operation, stride).double().eval()
    for names in (["site"], ["main"], "all"):
        report = fused_alike(model, images(*size), names, others=[images(17, 18), images(10, 13)])
    asked = [each for each in report.interpolations if "site" in each.sites]
    assert not asked or operation not in [each for each, _ in EVEN.values()]


@pytest.mark.parametrize(("operation", "stride"), EVEN.values(), ids=EVEN)
def test_what_is_wanted_of_a_slice_at_even_positions(operation, stride):
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Shortcut(operation, stride)
            self.last = nn.Conv2d(4, 4, 1, 2)

        def forward(self, x):
            return self.last(self.block(x).relu())

    fused_alike(Narrow().double().eval(), images(17, 20), others=[images(16, 13)])


def test_channels_that_a_module_adds():
    layers = [nn.Conv2d(3, 4, 3), nn.ConstantPad3d((0, 0, 0, 0, 1, 2), 0.5), nn.Conv2d(7, 4, 3, 2)]
    report = fused_alike(nn.Sequential(*layers).double().eval(), images(), ["0"])
    assert not report.interpolations
