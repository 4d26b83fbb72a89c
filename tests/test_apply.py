"""`apply` against a network pooled by hand, and the abilities that a pooled model must keep."""

import copy
import io
import logging
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from virtualpool import VirtualPoolError, apply, fuse, plan_of, virtual_pool

CONVOLUTIONS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 0},
    {"kernel_size": 1},
    {"kernel_size": 5, "padding": 2},
    {"kernel_size": (3, 5), "padding": (1, 2)},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 7, "padding": 3, "stride": (1, 2)},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": 3, "padding": 1, "groups": 4},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": 4, "padding": "same"},
    {"kernel_size": 3, "padding": "valid"},
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": "same", "padding_mode": "circular"},
    {"kernel_size": 3, "padding": 1, "bias": False},
]


class Block(nn.Module):
    """A residual block with batch norm, a function for the activation and an option."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.label = "mine"

    def forward(self, images, scale=None):
        inner = functional.relu(self.norm(self.first(images)))
        out = images + self.second(inner)
        if self.training:
            return out, inner
        return out if scale is None else out * scale

    def describe(self):
        return self.label


def block() -> Any:
    torch.manual_seed(0)
    return Block().double().eval()


def images(height=12, width=13, channels=4):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, channels, height, width, generator=generator, dtype=torch.float64)


# PyTorch says once that it copies for even kernels with padding="same".
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("size", [(12, 12), (13, 12), (11, 17)])
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_equals_every_second_sample_interpolated(options, size):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 8, **options), nn.ReLU()).double()
    pooled = apply(network, images(20, 20), ["0"])
    full = network(images(*size))
    expected = virtual_pool(full[..., ::2, ::2].contiguous(), (full.shape[2], full.shape[3]))
    torch.testing.assert_close(pooled(images(*size)), expected)


def test_each_site_is_recovered_where_the_design_says():
    network, map = block(), images()
    pooled = apply(network, map, "all")

    def every_second(x):
        return virtual_pool(x[..., ::2, ::2].contiguous(), (x.shape[2], x.shape[3]))

    inner = every_second(functional.relu(network.norm(network.first(map))))
    expected = map + every_second(network.second(inner))
    torch.testing.assert_close(pooled(map), expected)


def test_training_runs_the_code_of_training():
    pooled = apply(block(), images(), "all").train()
    out, inner = pooled(images())
    assert out.shape == inner.shape == images().shape
    (out.sum() + inner.sum()).backward()
    assert all(parameter.grad is not None for parameter in pooled.parameters())


def test_the_model_that_is_given_stays():
    network = block().train()
    before = copy.deepcopy(network.state_dict())
    random = torch.get_rng_state()
    pooled = apply(network, images(), "all")
    assert type(network) is Block
    assert network.training
    assert pooled.training
    assert network.first.stride == (1, 1)
    assert plan_of(network).names == []
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_it_is_still_the_users_model():
    network = block()
    pooled = apply(network, images(), "all")
    assert isinstance(pooled, Block)
    assert pooled.describe() == "mine"
    assert list(pooled.state_dict()) == list(network.state_dict())
    pooled.load_state_dict(network.state_dict())
    network.load_state_dict(pooled.state_dict())
    assert torch.equal(pooled(images=images(), scale=None), pooled(images()))
    # A value in the example inputs that is no tensor is held as it was in them.
    for other in (torch.ones(1), 2.0):
        with pytest.raises(VirtualPoolError, match=r"scale is .* was pooled with None"):
            pooled(images(), scale=other)


def copied_by_pickle(model):
    return pickle.loads(pickle.dumps(model))


def copied_by_torch(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, copied_by_pickle, copied_by_torch])
@pytest.mark.parametrize("training", [False, True])
def test_copies_compute_the_same(copied, training):
    pooled: Any = apply(block(), images(), "all").train(training)
    other: Any = copied(pooled)
    torch.testing.assert_close(other(images()), pooled(images()))
    assert plan_of(other) == plan_of(pooled)
    with torch.no_grad():
        other.first.weight.zero_()
    assert pooled.first.weight.abs().sum() > 0


def test_rounds_on_top_of_rounds():
    network = block()
    at_once = apply(network, images(), "all")
    first = apply(network, images(), ["first"])
    both = apply(first, images(), ["first", "second"])
    assert plan_of(first).names == ["first"]
    assert plan_of(both).names == ["first", "second"]
    torch.testing.assert_close(both(images()), at_once(images()))


def test_autocast_channels_last_and_compile():
    pooled = apply(block().float(), images().float(), "all")
    map = images().float().contiguous(memory_format=torch.channels_last)
    pooled = pooled.to(memory_format=torch.channels_last)
    assert pooled(map).is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(pooled(map).float(), pooled(map.float()).float())
    compiled: Any = torch.compile(pooled, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(map), pooled(map))
    assert plan_of(compiled).names == ["first", "second"]


def test_says_what_it_did(caplog):
    caplog.set_level(logging.INFO, "virtualpool")
    apply(block(), images(), ["second"])
    assert "pooled 1 site (second)" in caplog.text
    assert "1 eligible" in caplog.text


def test_of_many_sites_it_says_how_many_and_the_first(caplog):
    caplog.set_level(logging.INFO, "virtualpool")
    deep = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(9)))
    pooled = apply(deep, torch.zeros(1, 3, 12, 12))
    assert "pooled 9 sites (0, 1, 2 and 6 more); 9 pooled in all" in caplog.text
    caplog.set_level(logging.DEBUG, "virtualpool")
    with pytest.raises(VirtualPoolError, match=r"none chosen. 7 \(output .*already pooled"):
        apply(pooled, torch.zeros(1, 3, 12, 12), "7")
    apply(deep, torch.zeros(1, 3, 12, 12))
    assert "pooled: 0, 1, 2, 3, 4, 5, 6, 7, 8" in caplog.text


class Looping(nn.Module):
    """Cannot be traced as a whole; its block can."""

    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, images):
        while images.abs().max() > 0.5:
            images = images / 2
        return self.block(images)


def test_parts_of_what_cannot_be_traced():
    torch.manual_seed(0)
    network = Looping().double().eval()
    pooled = apply(network, images(), "all")
    assert plan_of(pooled).names == ["block.first", "block.second"]
    assert pooled(images()).shape == images().shape
    assert not torch.allclose(pooled(images()), network(images()))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["frist"], "no convolution 'frist'; the nearest are first"),
        (["norm"], "no convolution 'norm'"),
        ([], "No site to pool: 2 convolutions, 2 of them eligible"),
        (None, "given as None; give a list of their names, or 'all'"),
        ([nn.ReLU()], r"given as \[ReLU\(\)\]; give"),
    ],
)
def test_names_that_are_none_are_refused(names, message):
    with pytest.raises(VirtualPoolError, match=message):
        apply(block(), images(), names)


def test_the_name_of_a_block_says_which_sites_are_in_it():
    with pytest.raises(VirtualPoolError, match=r"no convolution '0'; in it are 0\.first, 0\.sec"):
        apply(nn.Sequential(block()), images(), "0")


def test_nothing_left_is_refused():
    pooled = apply(block(), images(), "all")
    with pytest.raises(VirtualPoolError, match="No site to pool"):
        apply(pooled, images(), "all")


def test_an_ineligible_site_is_refused_with_its_reason():
    with pytest.raises(VirtualPoolError, match=r"first .* its output has one row"):
        apply(block(), images(1, 12), ["first"])


def test_inputs_that_do_not_fit_are_refused_with_their_shape():
    with pytest.raises(VirtualPoolError, match=r"\(2, 7, 12, 13\)"):
        apply(block(), images(channels=7), "all")


class Head(nn.Module):
    """The same convolutions for maps of several sizes, as in a detector's head."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, maps: list[torch.Tensor]):
        return [self.last(self.tower(map)) for map in maps]


def test_a_convolution_that_is_called_several_times_is_pooled_in_every_call():
    torch.manual_seed(0)
    head: Any = Head().double().eval()
    maps = [torch.rand(1, 4, *size).double() for size in ((8, 9), (4, 5), (1, 2))]
    pooled: Any = apply(head, maps, ["tower.0"])
    fused = fuse(pooled, maps)
    inner = head.tower[0]
    for map, found, fast in zip(maps, pooled(maps), fused(maps), strict=True):
        reduced = functional.conv2d(map, inner.weight, inner.bias, stride=2, padding=1).relu()
        expected = head.last(virtual_pool(reduced, (map.shape[2], map.shape[3])))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(fast, expected, rtol=0, atol=1e-12)
    assert pooled.tower(maps[0]).shape == maps[0].shape


def chain():
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(4, 4, 3, padding=1)).double().eval()


def test_padded_borders_change_no_name_and_no_other_model():
    model, images = chain(), torch.rand(2, 3, 12, 13, dtype=torch.float64)
    pooled = apply(model, images, border="padded")
    assert pooled.state_dict().keys() == model.state_dict().keys()
    assert (model[2].padding, pooled[2].padding) == ((1, 1), (0, 0))  # pyright: ignore
    pooled.load_state_dict(model.state_dict())
    assert plan_of(pooled).border == "padded"
    exact = apply(model, images)
    assert plan_of(exact).border == "exact"
    assert not torch.equal(pooled(images), exact(images))


def test_rounds_with_padded_borders_give_what_one_round_gives():
    model, images = chain(), torch.rand(2, 3, 12, 13, dtype=torch.float64)
    at_once = apply(model, images, ["0", "2"], border="padded")
    first = apply(model, images, ["2"], border="padded")
    both = apply(first, images, ["0"], border="padded")
    assert (plan_of(first).padded, set(plan_of(both).padded)) == ((), {"2"})
    torch.testing.assert_close(both(images), at_once(images))
    copied = pickle.loads(pickle.dumps(both))
    assert torch.equal(copied(images), both(images))


@pytest.mark.parametrize(("before", "now"), [("exact", "padded"), ("padded", "exact")])
def test_another_border_on_top_is_refused(before, now):
    images = torch.rand(1, 3, 12, 13, dtype=torch.float64)
    pooled = apply(chain(), images, ["0"], border=before)
    with pytest.raises(VirtualPoolError, match=f"border {before!r}, and {now!r} is asked for"):
        apply(pooled, images, ["2"], border=now)


def test_an_unknown_border_is_refused():
    with pytest.raises(VirtualPoolError, match="border is 'round', where 'exact' and 'padded'"):
        apply(chain(), torch.rand(1, 3, 12, 13), border="round")  # pyright: ignore
