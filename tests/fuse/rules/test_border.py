"""Padded borders: unfused, fused and in training the same, whatever the convolution."""

import itertools
from typing import Any

import pytest
import torch
from tests.fuse.checks import assert_same, images, run
from tests.fuse.rules.test_convolution import CASES, chain
from torch import nn
from torch.nn import functional

import virtualpool as vp
from virtualpool.fuse import report_of
from virtualpool.plan import plan_of

OTHERS = [images(*size) for size in itertools.product((16, 17), (20, 21))]


def reads_cells_alone(options):
    """Whether nothing is read between cells, and so beside them neither."""
    is_single = options["kernel_size"] == 1 and "padding" not in options
    return is_single or options.get("dilation") == options.get("padding") == 2


def forms(model: Any, sites: Any = "all", example: Any = None) -> tuple[Any, Any, Any]:
    """A model with padded borders: unfused, fused, and fused for training."""
    example = images(20, 21) if example is None else example
    pooled = vp.apply(model, example, sites, border="padded")
    return pooled, vp.fuse(pooled, example), vp.fuse(pooled, example, training=True)


@pytest.mark.parametrize(("options", "_"), CASES, ids=str)
def test_a_chain(options, _):
    pooled, fused, twin = forms(chain(options))
    report = report_of(fused)
    is_known = options.get("padding_mode", "zeros") == "zeros"
    assert report is not None
    assert report.fused == (("0",) if is_known else ())
    assert plan_of(pooled).padded == (("2",) if is_known and not reads_cells_alone(options) else ())
    for each in OTHERS:
        expected = run(pooled, each)
        assert_same(run(fused, each), expected)
        assert_same(run(twin, each), expected)
        assert_same(run(twin.train(), each), expected)
        twin.eval()


@pytest.mark.parametrize("options", [case for case, _ in CASES if case.get("stride") == 2], ids=str)
def test_a_strided_convolution_that_is_not_pooled(options):
    pooled, fused, _ = forms(chain(options), ["0"])
    for each in OTHERS:
        assert_same(run(fused, each), run(pooled, each))


@pytest.mark.parametrize("size", [(6, 7), (7, 6), (1, 2), (2, 1)], ids=str)
def test_is_a_convolution_of_the_reduced_map_with_zeros_around(size):
    model: Any = chain({"kernel_size": 3, "padding": 1})
    pooled, *_ = forms(model)
    x = images(*size)
    reduced = model[0:2](x)[..., ::2, ::2]
    folded = torch.einsum("oikl,ak,bl->oiab", model[2].weight, SHARES, SHARES)
    expected = functional.conv2d(reduced, folded, model[2].bias, padding=1).relu()
    torch.testing.assert_close(pooled(x)[..., ::2, ::2], expected)


SHARES = torch.tensor([[0.5, 0, 0], [0.5, 1, 0.5], [0, 0, 0.5]], dtype=torch.float64)


class Mixed(nn.Module):
    """A recovered map that everything reads: what has no padded border keeps the exact one."""

    def __init__(self):
        super().__init__()
        self.site = nn.Conv2d(3, 4, 3, padding=1)
        self.folded = nn.Conv2d(4, 4, 5, stride=2, padding=2, groups=4)
        self.full = nn.Conv2d(4, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.large = nn.MaxPool2d(3, 2, 1)
        self.mean = nn.AvgPool2d(3, 2, 1)

    def forward(self, x):
        map = self.site(x).relu()
        pooled = self.large(map) + self.mean(map) + self.folded(map)
        return pooled, self.full(map), self.up(map), map.mean((2, 3))


def test_only_convolutions_that_read_a_reduced_map_have_padded_borders():
    torch.manual_seed(0)
    model = Mixed().double().eval()
    pooled, fused, twin = forms(model, ["site"])
    assert plan_of(pooled).padded == ("folded",)
    exact = vp.apply(model, images(20, 21), ["site"])
    for each in OTHERS:
        expected = run(pooled, each)
        assert_same(run(fused, each), expected)
        assert_same(run(twin, each), expected)
        assert_same(run(exact, each)[1:], expected[1:])
        # At the border alone they differ.
        mine, other = expected[0], run(exact, each)[0]
        assert torch.equal(mine[..., 1:-2, 1:-2], other[..., 1:-2, 1:-2])
        assert not torch.allclose(mine, other)


def test_gradients_in_training():
    model = chain({"kernel_size": 4, "padding": 1}).train()
    pooled, _, twin = forms(model)
    x = images(20, 21)
    for one, other in zip(
        torch.autograd.grad(pooled(x).square().sum(), list(pooled.parameters())),
        torch.autograd.grad(twin(x).square().sum(), list(twin.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_a_program_takes_every_size():
    pooled, fused, _ = forms(chain({"kernel_size": 3, "padding": 1}))
    shapes = ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(fused, (images(20, 21),), dynamic_shapes=shapes).module()
    for each in OTHERS:
        torch.testing.assert_close(program(each), pooled(each))
