"""Maps recovered otherwise than by `virtual_pool` after the activation, at all sites."""

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

import virtualpool as vp
from virtualpool.graph.operations import kind_of
from virtualpool.operator.pool import virtual_pool
from virtualpool.plan import plan_of


def before_activation(network: nn.Module, image: Tensor) -> nn.Module:
    """Pools all sites of a network, the maps recovered before their activations.

    No convolution can then be fused with the interpolation: its input is not linear in the
    reduced map.
    """
    traced = fx.symbolic_trace(vp.apply(network, image, "all"))
    for recovery in _recoveries(traced):
        activation = recovery.all_input_nodes[0]
        if kind_of(activation, traced) == "activation":
            _swap(activation, recovery)
    return _checked(traced)


def recovered_by(make: Callable[[int], nn.Module], network: nn.Module, image: Tensor) -> nn.Module:
    """Pools all sites of a network, each map recovered by a module of its own.

    Args:
        make: of the number of channels, a module that takes the arguments of `virtual_pool`.
        network: the network; it is not changed.
        image: the image to trace it with.
    """
    pooled = vp.apply(network, image, "all")
    traced = fx.symbolic_trace(pooled)
    for index, (site, old) in enumerate(
        zip(plan_of(pooled).names, _recoveries(traced), strict=True)
    ):
        name, convolution = f"recovery_{index}", traced.get_submodule(site)
        assert isinstance(convolution, nn.Conv2d)
        traced.add_submodule(name, make(convolution.out_channels))
        with traced.graph.inserting_after(old):
            new = traced.graph.call_module(name, old.args)
        old.replace_all_uses_with(new)
        traced.graph.erase_node(old)
    return _checked(traced)


class Nearest(nn.Module):
    """The nearest sample that was computed, to the left and above: no mean of neighbours."""

    def forward(self, reduced: Tensor, size: tuple[int, int]) -> Tensor:
        """See `virtual_pool`."""
        full = functional.interpolate(reduced, scale_factor=2.0, mode="nearest")
        return full[..., : size[0], : size[1]]


class Transposed(nn.Module):
    """A transposed convolution, which begins as linear interpolation and is trained.

    Only the last row and column of an even size begin otherwise: as half of the sample before.

    Args:
        channels: of the map.
        groups: 1 mixes all channels, as fully convolutional networks do (Long et al., 2015);
            as many as channels mixes none.
    """

    def __init__(self, channels: int, groups: int = 1) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(
            channels, channels, 3, stride=2, padding=1, groups=groups, bias=False
        )
        means, channel = torch.tensor([0.5, 1.0, 0.5]), torch.arange(channels)
        with torch.no_grad():
            weight = self.convolution.weight.zero_()
            weight[channel, channel % weight.shape[1]] = torch.outer(means, means)

    def forward(self, reduced: Tensor, size: tuple[int, int]) -> Tensor:
        """See `virtual_pool`."""
        return self.convolution(reduced, output_size=size)


def _recoveries(traced: fx.GraphModule) -> list[fx.Node]:
    return traced.graph.find_nodes(op="call_function", target=virtual_pool)


def _swap(activation: fx.Node, recovery: fx.Node) -> None:
    (reduced,) = activation.all_input_nodes
    recovery.replace_all_uses_with(activation)
    recovery.replace_input_with(activation, reduced)
    activation.replace_input_with(reduced, recovery)
    activation.prepend(recovery)


def _checked(traced: fx.GraphModule) -> fx.GraphModule:
    traced.graph.lint()
    traced.recompile()
    return traced
