"""Layer norm before a linear layer: taken apart, it gives the same from the cells."""

import copy
from typing import Any

import pytest
import torch
from tests.fuse.checks import assert_same, fused_alike, images, pooled_and_fused, run
from torch import Tensor, nn

import virtualpool as vp
from virtualpool.fuse import report_of
from virtualpool.fuse.kernels.layer_norm import centred, divided


class Block(nn.Module):
    """The block of ConvNeXt."""

    def __init__(self, norm: nn.Module, linear: nn.Linear, *, twice: bool = False) -> None:
        super().__init__()
        self.site = nn.Conv2d(6, 6, 7, padding=3, groups=6)
        self.norm, self.linear, self.back = norm, linear, nn.Linear(len(linear.weight), 6)
        self.scale, self.twice = nn.Parameter(torch.full((6, 1, 1), 0.3)), twice

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm(self.site(x).permute(0, 2, 3, 1))
        inner = self.back(nn.functional.gelu(self.linear(normal)))
        return x + self.scale * (inner + normal if self.twice else inner).permute(0, 3, 1, 2)


def network(norm: nn.Module, linear: nn.Linear, **options: bool) -> nn.Sequential:
    torch.manual_seed(0)
    norm, linear = copy.deepcopy((norm, linear))
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.3, 1.2)
    blocks = [Block(copy.deepcopy(norm), linear, **options), Block(norm, copy.deepcopy(linear))]
    return nn.Sequential(nn.Conv2d(3, 6, 4, 2), *blocks, nn.Conv2d(6, 4, 2, 2)).double().eval()


def is_taken_apart(model: nn.Module) -> bool:
    _, fused, _ = pooled_and_fused(model, images(24, 21))
    return divided.__name__ in fused.evaluation.source


CASES = {
    "as in ConvNeXt": (nn.LayerNorm(6, eps=1e-6), nn.Linear(6, 24)),
    "no weights": (nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 8)),
    "no bias": (nn.LayerNorm(6, bias=False), nn.Linear(6, 8, bias=False)),
    "a bias of the norm": (nn.LayerNorm(6), nn.Linear(6, 8, bias=False)),
}
SIZES = [images(20, 27), images(23, 20, batch=1).to(memory_format=torch.channels_last)]


@pytest.mark.parametrize(("norm", "linear"), CASES.values(), ids=CASES)
def test_it_gives_the_same(norm, linear):
    model = network(norm, linear)
    fused_alike(model, images(24, 21), others=SIZES)
    assert is_taken_apart(model)


class Other(nn.LayerNorm):
    def forward(self, input):
        return super().forward(input).tanh()


def plus_one(module: nn.Module, given: Any, out: Any) -> Any:
    return out + 1


class Hooked(nn.Linear):
    def __init__(self) -> None:
        super().__init__(6, 8)
        self.register_forward_hook(plus_one)


LEFT = {
    "a norm of another kind": (Other(6), nn.Linear(6, 8), False),
    "hooks": (nn.LayerNorm(6), Hooked(), False),
    "two readers": (nn.LayerNorm(6), nn.Linear(6, 8), True),
}


@pytest.mark.parametrize(("norm", "linear", "twice"), LEFT.values(), ids=LEFT)
def test_what_is_left_as_it_is(norm, linear, twice):
    model = network(norm, linear, twice=twice)
    model[2] = nn.Identity()
    fused_alike(model, images(24, 21), others=SIZES)
    assert not is_taken_apart(model)


def test_gradients_reach_the_parameters():
    pooled = vp.apply(network(*CASES["as in ConvNeXt"]), images(24, 21), "all").train()
    fused = vp.fuse(pooled, images(24, 21), training=True)
    expected = torch.autograd.grad(pooled(SIZES[0]).square().sum(), list(pooled.parameters()))
    found = torch.autograd.grad(fused(SIZES[0]).square().sum(), list(fused.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_checkpoint_and_other_dtypes():
    pooled = vp.apply(network(*CASES["as in ConvNeXt"]), images(24, 21), "all")
    fused = vp.fuse(pooled, images(24, 21))
    state = {name: value * 1.1 for name, value in pooled.state_dict().items()}
    for model in (pooled, fused):
        model.load_state_dict(state)
    assert_same(run(fused, SIZES[0]), run(pooled, SIZES[0]))
    for dtype in (torch.float32, torch.bfloat16):
        given, expected = run(fused.to(dtype), SIZES[0].to(dtype)), run(pooled, SIZES[0])
        assert given.dtype == dtype
        scale = expected.abs().max()
        assert (given.double() - expected).abs().max() < 20 * torch.finfo(dtype).eps * scale
    with torch.autocast("cpu", torch.bfloat16):
        assert run(fused.float(), SIZES[0].float()).isfinite().all()


def test_the_report_names_the_linear_layer():
    pooled = vp.apply(network(*CASES["as in ConvNeXt"]), images(24, 21), "all")
    assert "1.site: 1.linear needs it in full" in str(report_of(vp.fuse(pooled, images(24, 21))))


@pytest.mark.parametrize("bias", [None, torch.tensor([1.0, 2.0])])
@pytest.mark.parametrize("recorded", [False, True])
def test_of_the_parts_layer_norm_is_made(bias, recorded):
    map, matrix = torch.rand(2, 3, 4, 5), torch.rand(2, 5, requires_grad=recorded)
    centre = centred(map)
    made = divided(nn.functional.linear(centre, matrix), centre, bias, 1e-5)
    expected = nn.functional.linear(nn.functional.layer_norm(map, (5,)), matrix, bias)
    torch.testing.assert_close(made, expected)
