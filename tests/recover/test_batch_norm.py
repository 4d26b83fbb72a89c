import copy

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool.errors import VirtualPoolError
from virtualpool.search import by_recalibration


def test_statistics_are_the_average_over_the_batches(network, batches):
    images = [images for images, _ in batches]
    maps = [network[0](each).double() for each in images]
    by_recalibration(batches)(network)
    mean = torch.stack([each.mean((0, 2, 3)) for each in maps]).mean(0)
    variance = torch.stack([each.var((0, 2, 3), unbiased=True) for each in maps]).mean(0)
    torch.testing.assert_close(network[1].running_mean.double(), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network[1].running_var.double(), variance, rtol=1e-4, atol=1e-5)


def test_only_the_statistics_change(network, batches):
    network.train()
    network[3].eval()
    before = copy.deepcopy(network.state_dict())
    flags = [module.training for module in network.modules()]
    by_recalibration(batches)(network)
    changed = {
        name for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert [module.training for module in network.modules()] == flags
    assert network[1].momentum == 0.1
    assert all(parameter.grad is None for parameter in network.parameters())


def test_dropout_is_off(batches):
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3)).train()
    ones = [torch.ones(2, 3, 4, 4)] * 3
    by_recalibration(ones)(model)
    mean = model[1].running_mean
    assert isinstance(mean, torch.Tensor)
    assert mean.tolist() == [1, 1, 1]


def test_it_serves_as_finetune_of_a_round(network, batches, make_round):
    other = copy.deepcopy(network)
    by_recalibration(batches)(network, make_round())
    by_recalibration([images for images, _ in batches])(other)
    assert torch.equal(network[1].running_mean, other[1].running_mean)


def test_only_the_first_batches(network, batches):
    other = copy.deepcopy(network)
    by_recalibration(batches, batch_count=2)(network)
    by_recalibration(batches[:2])(other)
    assert torch.equal(network[1].running_var, other[1].running_var)


@pytest.mark.parametrize(
    ("given", "count", "steps"),
    [
        (list, None, [(1, 3), (2, 3), (3, 3)]),
        (list, 2, [(1, 2), (2, 2)]),
        (list, 9, [(1, 3), (2, 3), (3, 3)]),
        (iter, 2, [(1, 2), (2, 2)]),
        (iter, None, [(1, 1), (2, 2), (3, 3)]),
    ],
)
def test_it_tells_of_its_progress(network, batches, make_round, given, count, steps):
    told = []
    current = make_round(observer=lambda stage, *progress: told.append((stage, progress[:2])))
    by_recalibration(given(batches[:3]), batch_count=count)(network, current)
    assert told == [("round-01", step) for step in steps]


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (nn.Conv2d(3, 4, 3), 1, "Conv2d has no batch norm .*; recover by labels"),
        (nn.BatchNorm2d(3, track_running_stats=False), 1, "no batch norm with running statistics"),
        (nn.BatchNorm2d(3, affine=False), 0, "no batch to measure"),
        (nn.Sequential(nn.BatchNorm2d(3)), float("nan"), "0: a statistic measured anew is not"),
    ],
)
def test_what_cannot_be_measured_is_refused(model, given, message):
    images = [torch.full((2, 3, 4, 4), float(given))] if given else []
    with pytest.raises(VirtualPoolError, match=message):
        by_recalibration(images)(model)


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_a_number_of_batches_that_is_none_is_refused_at_once(count):
    with pytest.raises(VirtualPoolError, match=f"batch_count is {count}"):
        by_recalibration([], batch_count=count)


@pytest.mark.parametrize("training", [False, True])
def test_a_fused_model_is_refused_by_name(training):
    images = torch.rand(2, 3, 16, 16)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3)]
    fused = vp.fuse(vp.apply(nn.Sequential(*layers).eval(), images), images, training=training)
    before = copy.deepcopy(fused.state_dict())
    for model, name in ((fused, "Sequential is"), (nn.Sequential(nn.ReLU(), fused), "1 is")):
        with pytest.raises(VirtualPoolError, match=f"^{name} fused, so its batch norms"):
            by_recalibration([images])(model)
    torch.testing.assert_close(dict(fused.state_dict()), dict(before))
