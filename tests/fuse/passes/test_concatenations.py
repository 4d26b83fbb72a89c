"""Convolutions of concatenations of which only some parts are recovered."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.fuse.checks import assert_same, fused_alike, images, pooled_and_fused, run
from torch import nn
from torch.nn import functional

import virtualpool as vp

PARTS: dict[str, tuple[Callable[..., Any], bool]] = {
    "before": (lambda x, y, z: torch.cat([z, x], 1), True),
    "behind": (lambda x, y, z: torch.cat((x, z), dim=1), True),
    "between": (lambda x, y, z: torch.concat([x, z, y], 1), True),
    "around": (lambda x, y, z: torch.cat([z, x, y, z], dim=-3), True),
    "in another": (lambda x, y, z: torch.cat([z, torch.cat([z, x], 1), y], 1), True),
    "of it all": (lambda x, y, z: torch.cat([x, y], 1), True),
    "of nothing": (lambda x, y, z: torch.cat([z, z], 1), True),
    "above": (lambda x, y, z: torch.cat([x, x], 2), False),
    "of parts": (lambda x, y, z: torch.cat((*x.chunk(2, 1), z), 1), True),
    "read by another": (lambda x, y, z: (c := torch.cat([z, x], 1)) + c.amax(), False),
}


class Joined(nn.Module):
    """Two maps of sites and one in full, joined, and a convolution of them."""

    def __init__(self, join: Callable[..., Any], **options: Any) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 2, 1)
        self.join = join
        zeros = [torch.zeros(1, channels, 4, 4) for channels in (4, 2, 3)]
        usual: dict[str, Any] = {"kernel_size": 3, "padding": 1, "stride": 2}
        self.reads = nn.Conv2d(join(*zeros).shape[1], 4, **(usual | options))
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        z = functional.avg_pool2d(x, 3, 1, 1).tanh()
        y = self.join(self.one(x).tanh(), self.other(x).tanh(), z)
        return self.norm(self.reads(y)).relu()


@pytest.mark.parametrize("options", [{}, {"bias": False, "stride": 1}], ids=str)
@pytest.mark.parametrize("name", PARTS)
def test_each_part_is_read_in_its_best_way(name, options):
    torch.manual_seed(0)
    join, is_fused = PARTS[name]
    model = Joined(join, **options).double().eval()
    report = fused_alike(model, images(), ["one", "other"], others=[images(9, 10)])
    if not options and name != "of nothing":
        assert ("one" in report.fused) == is_fused
    if name == "before":
        for each in (options, {"kernel_size": 1}):
            fused_alike(Joined(join, **each).double().eval(), images(), others=[images(9, 10)])


def test_in_groups_it_is_read_in_full():
    model = Joined(lambda x, y, z: torch.cat([x, z, z[:, :1]], 1), groups=2).double().eval()
    report = fused_alike(model, images(), ["one", "other"], others=[images(9, 10)])
    assert "one" not in report.fused


def test_two_convolutions_of_one_concatenation():
    class Two(Joined):
        def __init__(self) -> None:
            super().__init__(PARTS["before"][0])
            self.also = nn.Conv2d(7, 4, 3, 2, 1)

        def forward(self, x):
            y = self.join(self.one(x).tanh(), None, x.tanh())
            return self.reads(y) * self.also(y)

    report = fused_alike(Two().double().eval(), images(), ["one"], others=[images(9, 10)])
    assert report.fused == ("one",)


def test_gradients_in_training_and_a_changed_weight():
    model = Joined(PARTS["before"][0], bias=False).double().eval()
    pooled, fused, _ = pooled_and_fused(model, images(), ["one"])
    with torch.no_grad():
        for each in (pooled, fused):
            each.get_submodule("reads").weight.mul_(2)
    assert_same(run(fused, images()), run(pooled, images()))
    twin = vp.fuse(pooled, images(), training=True)
    for each in (pooled, twin):
        each.train()(images()).sum().backward()
    expected = dict(pooled.named_parameters())
    for name, parameter in twin.named_parameters():
        if expected[name].grad is not None:
            assert_same(parameter.grad, expected[name].grad, 1e-8)
