"""Folded values follow the parameters, and are no part of the state."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from tests.fuse.checks import assert_same, images, pooled_and_fused, run
from tests.fuse.networks import Net, Untraceable
from torch import nn

import virtualpool as vp


@pytest.fixture(params=[Net, Untraceable])
def kind(request):
    return request.param


def models(kind: Any, seed: int = 0) -> tuple[Any, Any]:
    torch.manual_seed(seed)
    pooled, fused, report = pooled_and_fused(kind().double().eval(), images())
    assert "body.0" in report.fused
    return pooled, fused


def test_the_state_has_the_same_names_and_values(kind):
    pooled, fused = models(kind)
    state, other = pooled.state_dict(), fused.state_dict()
    assert list(state) == list(other)
    assert all(torch.equal(state[name], other[name]) for name in state)
    assert [name for name, _ in pooled.named_parameters()] == [
        name for name, _ in fused.named_parameters()
    ]


def test_loading_folds_anew(kind):
    (pooled, fused), (other, _) = models(kind), models(kind, seed=1)
    before = run(fused, images())
    fused.load_state_dict(other.state_dict())
    assert_same(run(fused, images()), run(other, images()))
    assert not torch.allclose(run(fused, images()), before)
    fused.load_state_dict(pooled.state_dict())
    assert_same(run(fused, images()), before)


def test_loading_into_a_model_around_it_folds_anew(kind):
    (_, fused), (other, _) = models(kind), models(kind, seed=1)
    around = nn.Sequential(nn.Identity(), fused)
    around.load_state_dict(nn.Sequential(nn.Identity(), other).state_dict())
    assert_same(run(around, images()), run(other, images()))


def test_fine_tuning_and_eval_fold_anew(kind):
    pooled, fused = models(kind)
    for model in (pooled, fused):
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            torch.manual_seed(0)
            optimizer.zero_grad()
            model(images()).square().mean().backward()
            optimizer.step()
        model.eval()
    assert_same(run(fused, images()), run(pooled, images()))
    assert all(
        torch.equal(one, other)
        for one, other in zip(
            fused.state_dict().values(), pooled.state_dict().values(), strict=True
        )
    )


def test_eval_folds_what_was_changed_by_hand(kind):
    pooled, fused = models(kind)
    with torch.no_grad():
        for model in (pooled, fused):
            model.last.weight.mul_(2)
            model.body[0].weight.neg_()
            model.body[1].running_mean.add_(1)
    assert fused.eval() is fused
    assert_same(run(fused, images()), run(pooled, images()))


def test_another_dtype_folds_anew(kind):
    pooled, fused = models(kind)
    for model in (pooled, fused):
        model.float()
    map = images().float()
    assert_same(run(fused, map), run(pooled, map), 1e-5)
    # Not values rounded to float32 and wide again.
    for model in (pooled, fused):
        model.double()
    assert_same(run(fused, images()), run(pooled, images()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(kind, dtype):
    pooled, fused = models(kind)
    for model in (pooled, fused):
        model.to(dtype)
    out, expected = run(fused, images().to(dtype)), run(pooled, images().to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out, expected, rtol=0.1, atol=20 * torch.finfo(dtype).eps)


def test_memory_format_and_device(kind):
    pooled, fused = models(kind)
    fused.to(memory_format=torch.channels_last)
    folded = [x for name, x in fused.named_buffers() if "folded" in name and x.ndim == 4]
    assert folded
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in folded)
    assert_same(run(fused, images()), run(pooled, images()))
    if kind is Net:
        assert fused.to("meta")(images().to("meta")).device.type == "meta"
        empty = fused.to_empty(device="cpu")
        empty.load_state_dict(pooled.state_dict())
        assert_same(run(empty, images()), run(pooled, images()))


def by_pickle(model: nn.Module) -> Any:
    return pickle.loads(pickle.dumps(model))


def by_torch(model: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, by_pickle, by_torch])
def test_copies_fold_for_themselves(kind, copied):
    (pooled, fused), (other, _) = models(kind), models(kind, seed=1)
    twin = copied(fused)
    assert_same(run(twin, images()), run(pooled, images()))
    twin.load_state_dict(other.state_dict())
    assert_same(run(twin, images()), run(other, images()))
    assert_same(run(fused, images()), run(pooled, images()))
    assert vp.plan_of(twin) == vp.plan_of(pooled)
    assert str(twin) == str(fused)


def test_parameters_are_shared_and_not_copied():
    _, fused = models(Net)
    kept = {x.data_ptr() for x in fused.parameters()}
    assert not any(x.data_ptr() in kept for name, x in fused.named_buffers() if "folded" in name)


def test_gradients_reach_the_images():
    pooled, fused = models(Net)
    gradients = []
    for model in (pooled, fused):
        given = images().requires_grad_()
        gradients += torch.autograd.grad(model(given).square().sum(), given)
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


class Shared(nn.Module):
    """The same convolutions for each map of a pyramid."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, stride=2, padding=1)

    def forward(self, one, other):
        return [self.second(self.first(each).relu()) for each in (one, other)]


def test_a_convolution_that_is_called_twice_is_folded_once():
    maps = (torch.rand(1, 3, 17, 12), torch.rand(1, 3, 9, 6))
    fused = vp.fuse(vp.apply(Shared().eval(), maps, ["first"]), maps)
    [kernel] = fused.buffers()
    assert kernel.shape == (3, 3, 3, 3)


def test_parameters_of_other_shapes_are_refused_by_name():
    _, fused = models(Net)
    fused.last.weight = nn.Parameter(fused.last.weight[:1].detach())
    with pytest.raises(vp.VirtualPoolError, match=r"Net is fused, .* \(2, .*\) now has \(1, .*\)"):
        fused.eval()
