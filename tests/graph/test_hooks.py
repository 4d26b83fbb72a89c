"""A site is refused where a hook would do something else to its reduced map."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool import apply, fuse, sites
from virtualpool.graph.state import copy_of

MOVING: dict[str, Callable[[Tensor], Any]] = {
    "shifted": lambda x: x.roll(1, -1),
    "blurred": lambda x: functional.avg_pool2d(x, 3, 1, 1),
    "less its mean": lambda x: x - x.mean((2, 3), keepdim=True),
    "turned": lambda x: x.flip(3).rot90(2, (2, 3)),
    "of one size": lambda x: x + torch.linspace(0, 1, 13),
}
FIT: dict[str, Callable[[Tensor], Any]] = {
    "looked at": lambda x: None,
    "rounded": lambda x: (x * 16).round() / 16,
    "a channel off": lambda x: x * torch.tensor([1.0, 0, 1, 1]).to(x).view(-1, 1, 1),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.BatchNorm2d(4), nn.Sequential(nn.ReLU()))
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), wide, nn.Conv2d(4, 4, 3)).train()


def after(change: Callable[[Tensor], Any], layer: nn.Module) -> None:
    def hook(_: nn.Module, given: Any, out: Any) -> Any:
        return change(out)

    layer.register_forward_hook(hook)


def before(change: Callable[[Tensor], Any], layer: nn.Module) -> None:
    layer.register_forward_pre_hook(lambda _, given: change(given[0]))


PLACES = [(after, "0"), (after, "1.0"), (after, "1.1.0"), (before, "1.0"), (before, "1.1.0")]


def reasons(model: nn.Module) -> list[str | None]:
    return [site.reason for site in sites(model, torch.rand(2, 4, 12, 13))]


@pytest.mark.parametrize(("place", "name"), PLACES)
@pytest.mark.parametrize("change", MOVING.values(), ids=MOVING)
def test_a_hook_that_works_across_positions(change, place, name):
    model = network()
    place(change, model.get_submodule(name))
    first, second = reasons(model)
    assert first == f"with its stride doubled, a hook of {name} gives other samples"
    assert second is None
    assert model.training


@pytest.mark.parametrize(("place", "name"), PLACES)
@pytest.mark.parametrize("change", FIT.values(), ids=FIT)
def test_a_hook_that_works_on_each_element(change, place, name):
    model = network()
    place(change, model.get_submodule(name))
    assert reasons(model) == [None, None]


def to_gradients(change: Callable[[Tensor], Any], layer: nn.Module) -> None:
    layer.register_full_backward_pre_hook(lambda _, given: (change(given[0]),))


def of_gradients(change: Callable[[Tensor], Any], layer: nn.Module) -> None:
    layer.register_full_backward_hook(lambda _, given, of_result: (change(given[0]),))


BACKWARD = [
    *((place, name) for place in (to_gradients, of_gradients) for name in ("1.0", "1.1.0")),
    (to_gradients, "0"),
]


@pytest.mark.parametrize(("place", "name"), BACKWARD)
@pytest.mark.parametrize("change", MOVING.values(), ids=MOVING)
def test_a_hook_that_moves_gradients(change, place, name):
    model = network()
    place(change, model.get_submodule(name))
    first, second = reasons(model)
    assert first == f"with its stride doubled, a hook of {name} gives other samples"
    assert second is None
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("place", "name"), [*BACKWARD, (of_gradients, "0")])
@pytest.mark.parametrize(
    "change", [lambda x: 2 * x, lambda x: x.clamp(-1, 1), FIT["looked at"], FIT["a channel off"]]
)
def test_a_hook_that_scales_gradients(change, place, name):
    model = network()
    place(change, model.get_submodule(name))
    assert reasons(model) == [None, None]


@pytest.mark.parametrize("change", MOVING.values(), ids=MOVING)
def test_gradients_of_what_comes_before_a_site(change):
    model = network()
    of_gradients(change, model[0])
    of_gradients(change, model[2])
    assert reasons(model) == [None, None]


def test_nobody_goes_back_through_an_activation_in_place_that_has_a_hook():
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True))
    of_gradients(MOVING["shifted"], model[1])
    assert reasons(model) == [None]


class Gated(nn.BatchNorm2d):
    """A norm with an activation in it, as timm has them."""

    def __init__(self) -> None:
        super().__init__(4)
        self.act = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        return self.act(super().forward(input))


@pytest.mark.parametrize("place", [after, before, to_gradients, of_gradients])
def test_a_hook_inside_an_operation(place):
    model = nn.Sequential(nn.Conv2d(4, 4, 3), Gated())
    place(MOVING["shifted"], model.get_submodule("1.act"))
    assert reasons(model) == ["with its stride doubled, a hook of 1 gives other samples"]


@pytest.mark.parametrize("change", MOVING.values(), ids=MOVING)
def test_what_comes_before_a_site_or_looks_at_its_gradients_is_fit(change):
    model = network()
    before(change, model[0])
    before(change, model[2])
    model.get_submodule("1.0").register_full_backward_hook(lambda module, given, out: None)
    assert reasons(model) == [None, None]


def test_what_sees_the_recovered_map_is_fit():
    model = network()
    after(MOVING["blurred"], model[1])  # a sequence with hooks is no activation
    assert reasons(model) == [None, None]


def test_a_hook_that_looks_may_be_behind_a_norm_over_positions():
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4))
    after(FIT["looked at"], model[1])
    assert reasons(model) == [None]


def test_what_a_hook_stores_stays_as_it_was():
    class Storing(nn.ReLU):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Tensor] = []
            self.register_forward_hook(Storing.store)

        def store(self, given: Any, out: Tensor) -> None:
            self.seen.append(out)

    model: Any = copy_of(nn.Sequential(nn.Conv2d(4, 4, 3), Storing()))
    assert reasons(model) == [None]
    assert not model[1].seen


KINDS = ["register_forward_hook", "register_full_backward_hook", "register_full_backward_pre_hook"]


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook")
@pytest.mark.parametrize("kind", [*KINDS, "register_backward_hook"])
def test_hooks_of_a_block_are_called_pooled_and_fused(kind):
    called: list[str] = []
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
    model = nn.Sequential(block, nn.Conv2d(4, 4, 3)).eval()
    getattr(block, kind)(lambda *_: called.append(kind))
    images = torch.rand(1, 4, 8, 8, requires_grad=True)
    pooled = apply(model, images.detach())
    for network in (pooled, fuse(pooled, images.detach())):
        called.clear()
        network(images).sum().backward()
        assert called == [kind]
