import copy
import pickle

import pytest
import torch
from torch import nn

from virtualpool.graph.snapshot import Snapshot, attribute


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4)))


PATHS = ["0.weight", "1.0.running_mean"]


def test_an_attribute_by_its_path():
    model = network()
    assert attribute(model, "1.0.running_mean") is model[1].get_buffer("0.running_mean")


def test_what_is_beside_does_not_count():
    model = network()
    snapshot = Snapshot.of(model, PATHS)
    assert snapshot is not None
    model.train().requires_grad_(False)
    model.append(nn.ReLU())
    with torch.no_grad():
        model.get_parameter("0.bias").add_(1)
    assert snapshot.is_current()


@pytest.mark.parametrize("fused", [False, True])
def test_steps_of_optimizers_count(fused):
    model = network()
    snapshot = Snapshot.of(model, PATHS)
    assert snapshot is not None
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1, fused=fused)
    model[0](torch.rand(1, 3, 4, 4)).sum().backward()
    assert snapshot.is_current()
    optimizer.step()
    assert not snapshot.is_current()


def test_what_batch_norm_writes_counts():
    model = network()
    snapshot = Snapshot.of(model, PATHS)
    assert snapshot is not None
    model.eval()(torch.rand(2, 3, 8, 8))
    assert snapshot.is_current()
    model.train()(torch.rand(2, 3, 8, 8))
    assert not snapshot.is_current()


def test_another_module_at_the_place_counts():
    model = network()
    snapshot = Snapshot.of(model, PATHS)
    assert snapshot is not None
    inner, kept = model[1], copy.copy(model[1])
    model[1] = kept
    assert not snapshot.is_current()
    model[1] = inner
    assert snapshot.is_current()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_of_a_copy_nothing_is_known(copied):
    model = network()
    assert copied({"one": Snapshot.of(model, PATHS)}) == {"one": None}


def test_where_no_change_would_be_seen():
    model = network()
    nn.utils.parametrizations.weight_norm(model[0])
    assert Snapshot.of(model, PATHS) is None
    with torch.inference_mode():
        assert Snapshot.of(network(), PATHS) is None
    assert Snapshot.of(network(), ["0.nothing"]) is None
