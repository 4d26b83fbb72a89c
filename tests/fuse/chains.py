"""Many cases in one network: to trace and fuse one is less work than one for each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tests.fuse.checks import assert_same, pooled_and_fused, run
from virtualpool.fuse import Report


class Chains(nn.Module):
    """Chains of operations, each by itself, on the same images."""

    def __init__(self, chains: Sequence[Sequence[Callable[[Any], Any]]]) -> None:
        super().__init__()
        self.chains = nn.ModuleList(
            nn.ModuleList(each for each in chain if isinstance(each, nn.Module)) for chain in chains
        )
        # Functions alone, for modules are held once.
        self.functions = [
            [None if isinstance(each, nn.Module) else each for each in chain] for chain in chains
        ]

    def forward(self, x: Tensor) -> list[Any]:
        return [
            _called(chain, functions, x)
            for chain, functions in zip(self.chains, self.functions, strict=True)
        ]


def same(one: Any, other: Any) -> bool:
    """Whether two results are the same, so that a test can say whose they are."""
    try:
        assert_same(one, other)
    except AssertionError:
        return False
    return True


def _called(modules: Any, functions: Sequence[Any], x: Any) -> Any:
    rest = iter(modules)
    for function in functions:
        x = next(rest)(x) if function is None else function(x)
    return x


def chains_alike(
    chains: Mapping[str, Sequence[Callable[[Any], Any]]],
    images: Tensor,
    names: Sequence[str] | str = "all",
    others: Sequence[Tensor] = (),
) -> tuple[Report, dict[str, set[str]]]:
    """Checks named chains in float64, on images and on others.

    Returns:
        The report, and who asks for the first site's map of each chain in full.
    """
    torch.manual_seed(0)
    model = Chains([*chains.values()]).double().eval()
    pooled, fused, report = pooled_and_fused(model, images, names)
    for each in (images, *others):
        for name, one, other in zip(chains, run(fused, each), run(pooled, each), strict=True):
            assert same(one, other), f"{name}, {tuple(each.shape)}"
    asked = {
        name: {
            who
            for each in report.interpolations
            for who in each.asked_by
            if f"chains.{place}.0" in each.sites
        }
        for place, name in enumerate(chains)
    }
    return report, asked
