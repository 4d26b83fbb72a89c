"""Gradient steps after the closed form."""

import pytest
import torch
from torch import Tensor, nn

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.recover.layers import Layer
from virtualpool.recover.reconstruction import reconstruct
from virtualpool.recover.refining import Refining, error_of


def images(count: int = 48) -> Tensor:
    noise = torch.randn(count, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(noise, (12, 12), mode="bicubic")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, 1, 1, bias=False),
        nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1, groups=2), nn.ReLU(),
    ).eval()  # fmt: skip


def error(model: nn.Module, original: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return float((model(x) - original(x)).square().mean())


@pytest.mark.parametrize("split", [8, 48], ids=["batches of 8", "one batch"])
def test_steps_come_nearer_to_the_original_on_other_images(split):
    model, x = network(), images(96)
    pooled = vp.apply(model, x[:1])
    closed, refined = (
        reconstruct(pooled, model, x[:48].split(split), steps=steps) for steps in (0, 60)
    )
    assert error(refined, model, x[48:]) < 0.97 * error(closed, model, x[48:])


def test_what_required_gradients_still_does_and_none_is_left():
    model, x = network(), images()
    model.get_submodule("0").requires_grad_(False)
    pooled = vp.apply(model, x[:1])
    solved = reconstruct(pooled, model, [x])
    assert [each.requires_grad for each in solved.parameters()] == [
        each.requires_grad for each in pooled.parameters()
    ]
    assert all(each.grad is None for each in solved.parameters())


def test_inference_mode_changes_nothing():
    model, x = network(), images()
    pooled = vp.apply(model, x[:1])
    expected = reconstruct(pooled, model, [x])
    with torch.inference_mode():
        solved = reconstruct(pooled, model, [x.clone()])
    for one, other in zip(solved.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("steps", [-1, 0.5, "many"])
def test_steps_that_cannot_be_taken_are_refused(steps):
    model, x = network(), images(4)
    with pytest.raises(VirtualPoolError, match="steps is"):
        reconstruct(vp.apply(model, x[:1]), model, [x], steps=steps)


@pytest.mark.parametrize(
    ("dtype", "changes"), [(torch.float64, True), (torch.float32, True), (torch.bfloat16, False)]
)
@torch.no_grad()
def test_a_layer_is_refined_where_its_precision_allows(dtype, changes):
    torch.manual_seed(0)
    module = nn.Conv2d(3, 4, 3, padding=1).to(dtype)
    layer = Layer("0", module, 1, is_site=False, after=torch.relu)
    x, target = torch.randn(20, 3, 8, 8, dtype=dtype), torch.randn(20, 4, 8, 8, dtype=dtype)
    before = error_of(layer, x, target)
    assert Refining(40, 1).refine(layer, lambda: iter([(0, [(x, target)])])) is changes
    assert bool(error_of(layer, x, target) < before) is changes


@torch.no_grad()
def test_a_layer_that_gives_another_map_has_no_error_and_stays():
    layer = Layer("0", nn.Conv2d(3, 4, 3), 1, is_site=False)
    before = layer.module.weight.clone()
    x, target = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 8, 8)
    assert float(error_of(layer, x, target)) == 0
    Refining(5, 1).refine(layer, lambda: iter([(0, [(x, target)])]))
    assert torch.equal(layer.module.weight, before)


def test_a_narrow_strided_1x1_convolution_does_not_end_the_process():
    """PyTorch's backward pass writes outside of its memory there, in channels last."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 11, 1)).eval()
    batches = [torch.rand(8, 3, 48, 68, generator=generator) for _ in range(2)]
    pooled = vp.apply(model, batches[0][:1], ["2"])
    solved = reconstruct(pooled, model, batches, steps=20)
    assert all(bool(each.isfinite().all()) for each in solved.parameters())
