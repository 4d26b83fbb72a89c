"""Maps that are given by keyword are fused as others are."""

import pytest
import torch
from tests.fuse.checks import fused_alike, images
from torch import nn
from torch.nn import functional


class Network(nn.Module):
    """Two sites, and between them an operation whose map is given by keyword."""

    def __init__(self, change, *, module=None):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1)
        self.module, self.change = module, change

    def forward(self, x):
        map = self.one(input=x)
        return self.other(input=self.change(self.module, map)).relu().mean((2, 3))


CALLS = {
    "sum": (lambda _, x: torch.add(other=x, input=x, alpha=2), None),
    "method": (lambda _, x: x.add(other=x).add_(other=x), None),
    "list": (lambda _, x: torch.cat(dim=1, tensors=[x[:, :2], x[:, 2:]]), None),
    "pooling": (lambda _, x: functional.max_pool2d(stride=2, input=x, kernel_size=2), None),
    "module": (lambda it, x: it(input=x), nn.ReLU()),
    "in place": (lambda it, x: it(input=x), nn.ReLU(inplace=True)),
    "norm": (lambda it, x: functional.relu(input=it(input=x)), nn.BatchNorm2d(4)),
    "function": (lambda _, x: functional.relu(input=x), None),
    "in place, function": (lambda _, x: functional.relu(inplace=True, input=x), None),
    "of torch": (lambda _, x: torch.tanh(input=x), None),
    "limits": (lambda _, x: torch.clamp(input=x, min=0.0), None),
}


@pytest.mark.parametrize(("change", "module"), CALLS.values(), ids=CALLS)
def test_operations_by_keyword(change, module):
    model = Network(change, module=module).double().eval()
    report = fused_alike(model, images(), others=[images(9, 10)])
    assert report.fused == ("one", "other")


def test_a_map_that_is_not_the_first_keeps_its_place():
    model = Network(lambda _, x: torch.where(input=x, condition=x > 0, other=x * 2))
    fused_alike(model.double().eval(), images())


def test_a_hook_sees_the_keyword():
    seen = []
    module = nn.ReLU()
    module.register_forward_pre_hook(
        lambda _, given, keywords: seen.append((len(given), [*keywords])), with_kwargs=True
    )
    model = Network(lambda it, x: it(input=x), module=module).double().eval()
    fused_alike(model, images())
    assert seen[-1] == (0, ["input"])
