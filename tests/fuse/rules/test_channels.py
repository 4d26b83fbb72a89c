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


@pytest.mark.parametrize("names", [["one", "other"], ["one"], ["other"]])
@pytest.mark.parametrize("operation", PASSED.values(), ids=PASSED)
def test_the_reduced_map_is_passed_on(operation, names):
    model = Net(operation, 2).double().eval()
    report = fused_alike(model, images(), names, others=[images(9, 9, batch=1)])
    if len(names) == 2:
        assert not report.interpolations


@pytest.mark.parametrize("names", [["one", "other"], ["one"], ["other"]])
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
