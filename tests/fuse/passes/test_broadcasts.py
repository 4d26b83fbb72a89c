"""Values expanded to a map for arithmetic, which spreads them by itself."""

from collections.abc import Callable

import pytest
import torch
from tests.fuse.checks import fused_alike, images
from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self, code: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.site, self.code = nn.Conv2d(3, 4, 3, padding=1), code
        self.reads = nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        map = self.site(x).tanh()
        return self.reads(self.code(map, map.mean((2, 3), keepdim=True)))


CODES = {
    "product": (lambda x, y: x * y.expand_as(x), True),
    "the other way round": (lambda x, y: y.expand_as(x) * x, True),
    "in place": (lambda x, y: (x * 1).mul_(y.expand_as(x)), True),
    "sum of two": (lambda x, y: x + y.expand_as(x) * y.expand_as(x), False),
    "sizes": (lambda x, y: x + y.expand(x.size()), True),
    "beside it": (lambda x, y: torch.cat([x, y.expand_as(x)], 1)[:, 2:6], False),
    "alone": (lambda x, y: y.expand_as(x) + 1, False),
}


@pytest.mark.parametrize(("code", "is_fused"), CODES.values(), ids=CODES)
def test_expansions(code: Callable[[Tensor, Tensor], Tensor], is_fused: bool) -> None:
    torch.manual_seed(0)
    report = fused_alike(Net(code).double().eval(), images(), others=[images(9, 8)])
    assert ("site" in report.fused) == is_fused
