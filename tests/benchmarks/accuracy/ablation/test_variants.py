"""The ablations' forms of All-CNN-C, against the same written out convolution by convolution."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import virtualpool as vp
from benchmarks.accuracy.ablation import pooled, recovered
from benchmarks.accuracy.ablation.removal import REMOVALS
from virtualpool.graph.geometry import size_arguments
from virtualpool.models import AllCNNC
from virtualpool.operator.pool import output_size

Recover = Callable[[Tensor, tuple[int, int]], Tensor]


@pytest.fixture
def network() -> AllCNNC:
    return AllCNNC().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 32)


def written_out(network: AllCNNC, images: Tensor, recover: Recover, *, before: bool) -> Tensor:
    """All-CNN-C with all sites pooled, the maps recovered before their activation or after it."""
    maps = images
    for conv in network.convs:
        assert isinstance(conv, nn.Conv2d)
        stride = 2 * conv.stride[0]
        size = output_size(maps, *size_arguments(conv))
        maps = functional.conv2d(maps, conv.weight, conv.bias, stride, conv.padding)
        is_last = conv is network.convs[-1]
        if before:
            maps = recover(maps, size)
        maps = maps if is_last else maps.relu()
        if not before:
            maps = recover(maps, size)
    return maps.mean((2, 3))


def nearest(reduced: Tensor, size: tuple[int, int]) -> Tensor:
    rows, columns = (torch.arange(length) // 2 for length in size)
    return reduced[..., rows, :][..., columns]


@torch.no_grad()
def test_recovered_before_the_activation(network: AllCNNC, images: Tensor) -> None:
    changed = recovered.before_activation(network, images)
    expected = written_out(network, images, vp.virtual_pool, before=True)
    after = written_out(network, images, vp.virtual_pool, before=False)
    torch.testing.assert_close(changed(images), expected)
    assert not torch.allclose(expected, after)


@torch.no_grad()
def test_recovered_by_the_nearest(network: AllCNNC, images: Tensor) -> None:
    changed = recovered.recovered_by(lambda channels: recovered.Nearest(), network, images)
    torch.testing.assert_close(changed(images), written_out(network, images, nearest, before=False))


@torch.no_grad()
@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("size", [(8, 8), (7, 8), (7, 7)])
def test_a_transposed_convolution_begins_as_interpolation(
    groups: int, size: tuple[int, int]
) -> None:
    transposed = recovered.Transposed(6, groups=groups)
    reduced = torch.randn(2, 6, 4, 4)
    found, expected = transposed(reduced, size), vp.virtual_pool(reduced, size)
    assert found.shape == expected.shape
    # The last row and column of an even size have one neighbour, which counts half.
    torch.testing.assert_close(found[..., :7, :7], expected[..., :7, :7])
    torch.testing.assert_close(found[..., 7:, 0], expected[..., 7:, 0] / 2)


def test_all_is_trained(network: AllCNNC, images: Tensor) -> None:
    changed = recovered.recovered_by(recovered.Transposed, network, images)
    changed(images).square().sum().backward()
    names = {name for name, it in changed.named_parameters() if it.grad is not None}
    assert {"convs.0.weight", "convs.8.bias", "recovery_0.convolution.weight"} <= names
    assert len(names) == 9 * 3
    assert all(parameter.grad is None for parameter in network.parameters())


def test_removal_leaves_as_much_work_as_its_sites_pooled(network: AllCNNC, images: Tensor) -> None:
    strides = [conv.stride for conv in network.convs if isinstance(conv, nn.Conv2d)]
    for removal in REMOVALS:
        moved, pooled = removal(network), vp.apply(network, images, removal.sites)
        assert vp.measure.macs(moved, images) == vp.measure.macs(pooled, images)
        assert moved(images).shape == (2, 10)
        assert moved.get_submodule(f"convs.{removal.early}").stride != strides[removal.early]
        assert moved.get_submodule(f"convs.{removal.later}").stride == (1, 1)
    assert [conv.stride for conv in network.convs if isinstance(conv, nn.Conv2d)] == strides


def test_orders(network: AllCNNC, images: Tensor) -> None:
    ranking = vp.sensitivity(network, images[:1], lambda model: 0.5)
    macs = [site.macs for site in pooled.by_macs(ranking).sites]
    assert macs == sorted(macs, reverse=True)
    shuffled = [pooled.at_random(ranking, seed).names for seed in (0, 0, 1)]
    assert shuffled[0] == shuffled[1] != shuffled[2]
    assert sorted(shuffled[0]) == sorted(ranking.names)
