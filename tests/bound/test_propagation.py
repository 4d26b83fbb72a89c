"""Refused operations, and how an error branches and joins."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import virtualpool as vp
from virtualpool.bound import Gain, gain_of

IMAGES = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))


class After(nn.Module):
    """A site, then something."""

    def __init__(self, after, *inside: nn.Module) -> None:
        super().__init__()
        self.site = nn.Conv2d(3, 4, 3, padding=1)
        self.other = nn.Conv2d(4, 4, 3, padding=1)
        self.inside = nn.ModuleList(inside)
        self.scale = nn.Parameter(torch.tensor([1.0, -3.0, 2.0, 0.5]).view(4, 1, 1))
        self.after = after

    def forward(self, images):
        return self.after(self, self.site(images).relu())


def squeeze_excite(self, x):
    return x * self.other(x.mean((2, 3), keepdim=True)).sigmoid()


def changed_in_place(self, x):
    y = x.view(-1)
    x.mul_(2.0)
    return self.other(x) + y.view(x.shape)


REFUSED = {
    "multiplies or divides two maps": squeeze_excite,
    "divides by the value with the error": lambda self, x: 2 / self.other(x),
    "pow.*no rule": lambda self, x: self.other(x).pow(2),
    "softmax.*no rule": lambda self, x: self.other(x).softmax(1),
    "GroupNorm.*no rule": lambda self, x: self.inside[0](x),
    "BatchNorm2d.*spread": lambda self, x: self.inside[1](x),
    "Threshold.*no rule": lambda self, x: self.inside[2](x),
    "another argument": lambda self, x: functional.linear(
        self.other.weight.mean((2, 3)), self.other(x).mean((2, 3))
    ),
    "multiplies one of its summands": lambda self, x: torch.add(x, self.other(x), alpha=2),
    "in place": changed_in_place,
    "argmax": lambda self, x: x.argmax(1),
    "item.*no rule": lambda self, x: self.other(x.mean().item() + self.scale),
}


@pytest.mark.parametrize(("message", "after"), REFUSED.items(), ids=list(REFUSED))
def test_what_may_do_anything_with_an_error_is_refused(message, after):
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    model = After(after, nn.GroupNorm(2, 4), norm, nn.Threshold(0.5, 1.0))
    with pytest.raises(vp.VirtualPoolError, match=message):
        vp.error_bound(model, "site", IMAGES)


def test_the_refusal_names_site_place_and_what_to_do():
    with pytest.raises(vp.VirtualPoolError, match=r"^site: its error comes to mul.*gain_of"):
        vp.error_bound(After(squeeze_excite), "site", IMAGES)


def test_a_rule_of_ones_own():
    def erf(self, x):
        return torch.special.erf(self.other(x))

    with pytest.raises(vp.VirtualPoolError, match="erf"):
        vp.error_bound(After(erf), "site", IMAGES)
    gain_of(torch.special.erf)(lambda operation: Gain.lipschitz(1.1284))
    plain = vp.error_bound(After(lambda self, x: self.other(x)), "site", IMAGES)
    with_erf = vp.error_bound(After(erf), "site", IMAGES)
    assert (with_erf.error <= with_erf.bound).all()
    assert len(plain.factors) == len(with_erf.factors) == 1


# What comes after the second convolution, and by how much it multiplies bounds: the paper's per
# element, then ours.
TWICE = {
    "a sum": (lambda self, y: y + y, 2, 2),
    "a difference": (lambda self, y: 1 - (y - 2 * y), 3, 3),
    "a concatenation": (lambda self, y: torch.cat([y, y], 1), 2**0.5, 2**0.5),
    "the larger": (lambda self, y: torch.maximum(y, -y), 1, 2**0.5),
    "a factor per channel": (lambda self, y: y * self.scale, 3, 3),
    "a quotient": (lambda self, y: -y / self.scale, 2, 2),
    "broadcasting": (lambda self, y: y.mean((2, 3), keepdim=True) + torch.zeros(1, 1, 9, 8), 1, 1),
    "sizes": (lambda self, y: y.view(y.size(0), y.shape[1], -1), 1, 1),
    "parts": (lambda self, y: torch.cat(y.chunk(2, 1)[::-1], 1), 1, 1),
    "a module of modules": (lambda self, y: self.inside[0](y), 1.5, 1.5),
    "activations in place": (lambda self, y: functional.relu(y, inplace=True).mul_(2), 2, 2),
}


@pytest.mark.parametrize(("after", "paper", "ours"), TWICE.values(), ids=list(TWICE))
def test_what_joins(after, paper, ours):
    inner = nn.Sequential(nn.Dropout(), nn.Hardswish(inplace=True))

    def made(do):
        torch.manual_seed(0)
        return After(lambda self, x: do(self, self.other(x)), inner)

    single = vp.error_bound(made(lambda self, y: y), "site", IMAGES)
    found = vp.error_bound(made(after), "site", IMAGES)
    torch.testing.assert_close(found.bound, ours * single.bound)
    torch.testing.assert_close(found.paper, paper * single.paper)
    assert (found.error <= found.bound).all()


def test_up_to_the_next_weights_the_error_is_measured():
    def after(self, x):
        return self.other(functional.max_pool2d(x + 1, 2).view(x.shape[0], 4, 4, 4) * 2)

    found = vp.error_bound(After(after), "site", IMAGES)
    [factor] = found.factors
    torch.testing.assert_close(found.bound, factor.norm * found.change)


def test_without_weights_after_it_the_bound_is_the_error():
    found = vp.error_bound(After(lambda self, x: functional.max_pool2d(x, 2)), "site", IMAGES)
    torch.testing.assert_close(found.bound, found.error)
    assert found.factors == ()
