"""Code that one graph can hold: it runs like the module that it is of, or there is none."""

import functools
import inspect
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx.proxy import TraceError
from torch.nn import functional

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.graph.forward import ForwardCode
from virtualpool.graph.inputs import as_call, call, map_tensors
from virtualpool.graph.parameters import takes_any_number
from virtualpool.graph.tracer import Tracer, convolutions
from virtualpool.torch_private import CONSTANT

IMAGES = torch.rand(2, 3, 8, 8)


class Convolved(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)


class Network(Convolved):
    """Runs `code` on itself and its convolution's output."""

    def __init__(self, code: Callable[..., Any]):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("calls", torch.zeros(4, 1, 1))
        self.code = code

    def forward(self, images):
        return self.code(self, self.conv(images))


def graph_of(network: nn.Module, inputs: Any, opaque: frozenset[str] = frozenset()) -> Any:
    return Tracer(network, opaque).graph_of(network, as_call(inputs))


def run(graph: Any, network: nn.Module, inputs: Any) -> Any:
    arguments, keywords = as_call(map_tensors(torch.clone, inputs))
    return ForwardCode.of(graph).function(network, *arguments, **keywords)


def count_calls(self, x):
    return x + self.calls.add_(1)


def assign_to_a_part(self, x):
    out = x * 1
    out[:, 0] = 0
    return out


CODE = {
    "the convolution": lambda self, x: x,
    "a module": lambda self, x: self.norm(x),
    "chance in a module": lambda self, x: self.drop(x),
    "functions and methods": lambda self, x: functional.relu(x).mul(2).flatten(1),
    "a parameter": lambda self, x: x * self.scale,
    "a parameter's shape": lambda self, x: x / self.conv.weight.shape[0],
    "a buffer": lambda self, x: x + self.calls,
    "a changed buffer": count_calls,
    "sizes": lambda self, x: x.view(x.shape[0], 2, -1, x.size(3)),
    "a loop over modules": lambda self, x: self.norm(self.norm(x)),
    "the mode": lambda self, x: (x, x * 2) if self.training else x,
    "a tuple": lambda self, x: (x, x.sum()),
    "a dict": lambda self, x: {"out": x, "auxiliary": [x.sum()]},
    "an ordered dict": lambda self, x: OrderedDict(out=x, more=OrderedDict(sum=x.sum())),
    "a constant": lambda self, x: x + torch.ones(4, 1, 1),
    "a number of the map": lambda self, x: x * x.sum().item(),
    "a choice by a shape": lambda self, x: x * (1 if self.scale.shape else 2),
    "a list of chunks": lambda self, x: torch.cat([*list(x.chunk(2, 1)), x], 1),
    "a loop over chunks": lambda self, x: [part * 2 for part in torch.chunk(x, chunks=4, dim=1)],
    "how many chunks": lambda self, x: len(torch.chunk(x, 4, 1)),
    "parts of these sizes": lambda self, x: torch.cat([*x.split((1, 3), 1), x], 1),
    "parts, by keyword": lambda self, x: (
        len(x.split(split_size=[2, 2], dim=1)),
        [*torch.split(x, split_size_or_sections=[3, 1], dim=1)],
    ),
    "chunks unpacked": lambda self, x: (lambda one, other: one - other)(*x.chunk(2, 1)),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", CODE)
def test_a_graph_runs_as_its_module(case, training):
    network = Network(CODE[case]).train(training)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    graph = graph_of(network, IMAGES)
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    for images in (IMAGES, torch.rand(3, 3, 10, 6)):
        network.load_state_dict(state)
        torch.manual_seed(1)
        expected = network(images)
        network.load_state_dict(state)
        torch.manual_seed(1)
        found = run(graph, network, images)
        assert type(found) is type(expected)
        torch.testing.assert_close(found, expected)


class Positional(Convolved):
    def forward(self, images, shift, scale=2.0):
        return (self.conv(images) + shift) * scale


class KeywordOnly(Convolved):
    def forward(self, images, *, shift=None, scale=1.0):
        return self.conv(images) * scale if shift is None else self.conv(images) + shift


class Variadic(Convolved):
    def forward(self, *images, **others):
        return self.conv(images[0]) + self.conv(images[1])


class HandingOn(Convolved):
    """Hands on whatever it is given, as Ultralytics does."""

    def forward(self, images, *more, **options):
        return self.inner(images, *more, **options)

    def inner(self, images, shift=0.0, scale=1.0):
        return (self.conv(images) + shift) * scale


class Several(Convolved):
    def forward(self, images, targets=None):
        map = self.conv(torch.stack(images))
        return map if targets is None else map + targets["shift"] * targets["by"]


ONE = torch.ones(1)
ARGUMENTS: list[Any] = [
    # network, inputs that it is traced with, inputs that the graph takes as well
    (Positional, (IMAGES, ONE), (IMAGES, 2 * ONE)),
    (Positional, (IMAGES, ONE, 2.0), {"images": IMAGES, "shift": ONE}),
    (Positional, (IMAGES, ONE, 3.0), {"shift": ONE, "scale": 3.0, "images": IMAGES}),
    (Positional, (IMAGES, 2), (IMAGES + 1, 2)),
    (KeywordOnly, IMAGES, {"images": IMAGES, "scale": 1.0}),
    (KeywordOnly, {"images": IMAGES, "shift": ONE}, {"images": IMAGES, "shift": 2 * ONE}),
    (Variadic, (IMAGES, IMAGES + 1), (IMAGES + 1, IMAGES)),
    (Several, ([*IMAGES],), ([IMAGES[1], IMAGES[0]],)),
    (Several, ((IMAGES[0], IMAGES[1]),), ((IMAGES[1], IMAGES[0]), None)),
    (Several, ([*IMAGES], {"shift": ONE, "by": 2}), ([*IMAGES], {"shift": 2 * ONE, "by": 2})),
    (Several, ([*IMAGES], {"shift": ONE, "by": ONE}), ([*IMAGES], {"by": 3 * ONE, "shift": ONE})),
]


@pytest.mark.parametrize(("kind", "inputs", "others"), ARGUMENTS)
def test_a_graph_takes_the_arguments_of_its_module(kind, inputs, others):
    network = kind()
    graph = graph_of(network, inputs)
    for each in (inputs, others):
        torch.testing.assert_close(run(graph, network, each), call(network, each))


@pytest.mark.parametrize(
    ("inputs", "refusal"),
    [
        ((IMAGES, 2.0), "more holds 1 values; the model was pooled with none of these"),
        ({"images": IMAGES, "scale": 2.0}, "options holds scale; the model was pooled with none"),
        ({"images": IMAGES, "shift": [], "scale": None}, "options holds shift, scale;"),
        (([IMAGES],), "images is a list; the model was pooled with a tensor"),
    ],
)
def test_what_is_handed_on_stays_nothing(inputs, refusal):
    network = HandingOn()
    with pytest.raises(TraceError, match="cannot be iterated"):
        graph_of(network, IMAGES)
    graph = Tracer(network, frozenset(), is_closed=True).graph_of(network, as_call(IMAGES))
    torch.testing.assert_close(run(graph, network, IMAGES), network(IMAGES))
    with pytest.raises(VirtualPoolError, match=refusal):
        run(graph, network, inputs)


class HandingSome(HandingOn):
    def forward(self, *images, **options):
        return self.inner(images[0], **options)


def test_what_is_handed_on_beside_any_number_of_maps():
    network = HandingSome()
    graph = Tracer(network, frozenset(), is_closed=True).graph_of(network, as_call(IMAGES))
    torch.testing.assert_close(run(graph, network, IMAGES), network(IMAGES))
    with pytest.raises(VirtualPoolError, match="options holds scale"):
        run(graph, network, {"scale": 2.0})


def test_what_is_handed_on_is_not_known_where_the_example_has_any():
    network = HandingOn()
    with pytest.raises(TraceError, match="cannot be iterated"):
        Tracer(network, frozenset(), is_closed=True).graph_of(network, as_call((IMAGES, 2.0)))


@pytest.mark.parametrize(
    ("network", "does"),
    [(HandingOn(), True), (Variadic(), True), (Several(), False), (nn.Conv2d(3, 4, 1), False)],
)
def test_takes_any_number(network, does):
    assert takes_any_number(network) is does


def test_another_number_of_tensors_is_refused():
    network = Several()
    graph = graph_of(network, ([*IMAGES],))
    with pytest.raises(VirtualPoolError, match="images has 1 values; the model was pooled with 2"):
        run(graph, network, ([IMAGES[0]],))


class Branching(Convolved):
    def forward(self, images):
        return self.conv(images) if images.sum() > 0 else images


class Within(nn.Module):
    """Has a part that cannot be traced."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 1)
        self.part = Branching()

    def forward(self, images):
        return self.part(self.stem(images))


def without_gradients(self, x):
    with torch.no_grad():
        return x * 2


def without_autocast(self, x):
    with torch.autocast("cpu", enabled=False):
        return x * 2


UNTRACEABLE: list[Any] = [
    (Branching(), "", "control flow"),
    (Within(), "part", "control flow"),
    (Network(lambda self, x: x * float(x.sum())), "", "float"),
    (Network(lambda self, x: torch.stack([*x])), "", "cannot be iterated"),
    (Network(lambda self, x: x[: int(x.sum())]), "", "int"),
    (Network(lambda self, x: x * len(x)), "", "'len' is not supported"),
    (Network(lambda self, x: [*x.split(2, 1)]), "", "cannot be iterated"),
    (Network(lambda self, x: [*x.chunk(x.shape[1], 1)]), "", "cannot be iterated"),
    (Network(assign_to_a_part), "", "does not support item assignment"),
    (Network(lambda self, x: x + torch.rand(1)), "", "draws random numbers"),
    (Network(lambda self, x: x * random.random()), "", "draws random numbers"),
    (Network(without_gradients), "", "switches gradients or autocast off"),
    (Network(without_autocast), "", "switches gradients or autocast off"),
]


@pytest.mark.parametrize(("network", "culprit", "reason"), UNTRACEABLE)
def test_what_no_graph_can_say_is_refused(network, culprit, reason):
    tracer = Tracer(network, frozenset())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    attributes = [*vars(network)]
    with pytest.raises(Exception, match=reason):
        tracer.graph_of(network, as_call(IMAGES))
    assert (tracer.failed or "") == culprit
    assert [name for name in vars(network) if not name.startswith(CONSTANT)] == attributes
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")


def test_an_opaque_part_is_one_operation():
    network = Within()
    graph = graph_of(network, IMAGES, frozenset(["part"]))
    called = [node.target for node in graph.find_nodes(op="call_module", target="part")]
    assert called == ["part"]
    torch.testing.assert_close(run(graph, network, IMAGES), network(IMAGES))


class OfLists(nn.Module):
    """Takes a list of maps, and cannot be traced."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, maps):
        return self.conv(maps[0]) if maps[0].sum() > 0 else maps[1]


class GivingLists(Within):
    def __init__(self):
        super().__init__()
        self.part = OfLists()

    def forward(self, images):
        return self.part([self.stem(images), images])


def test_an_opaque_part_may_take_a_list():
    network = GivingLists()
    graph = graph_of(network, IMAGES, frozenset(["part"]))
    assert graph.find_nodes(op="call_module", target="part")
    torch.testing.assert_close(run(graph, network, IMAGES), network(IMAGES))


def test_only_code_with_convolutions_is_gone_through():
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    )
    graph = graph_of(network, IMAGES)
    targets = [node.target for node in graph.nodes if node.op == "call_module"]
    assert targets == ["0.0", "0.1", "1"]


def test_plain_sequences_are_gone_through_but_hooked_ones():
    after, hooked = nn.Sequential(nn.BatchNorm2d(4), nn.Sequential(nn.ReLU())), nn.Sequential()
    hooked.register_forward_hook(lambda module, inputs, output: None)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), after, nn.Sequential(), hooked)
    graph = graph_of(network, IMAGES)
    targets = [node.target for node in graph.nodes if node.op == "call_module"]
    assert targets == ["0", "1.0", "1.1.0", "3"]


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (nn.Conv2d(3, 4, 1), [""]),
        (nn.Linear(3, 4), []),
        (nn.Sequential(nn.ReLU(), nn.Conv1d(3, 4, 1), nn.ConvTranspose2d(3, 4, 1)), ["1", "2"]),
        (Within(), ["stem", "part.conv"]),
    ],
)
def test_convolutions(module, names):
    assert convolutions(module) == names


def test_an_object_among_the_arguments_is_refused():
    with pytest.raises(TraceError, match="shift is a object, which a graph would fix"):
        graph_of(Positional(), (IMAGES, object()))


# Signatures: a pooled model's `forward` takes the same arguments as the model's


class Site(Convolved):
    def run(self, x, scale, shift):
        return self.conv(x) * scale - shift


class Starred(Site):
    def forward(self, x, *rest, scale=2.0, shift=1.0):
        return self.run(x, scale, shift)


class StarredBetween(Site):
    def forward(self, x, scale=2.0, *rest, shift=1.0, **options):
        return self.run(x, scale, shift)


class RequiredBehindDefault(Site):
    def forward(self, x, *rest, scale=2.0, shift, **options):
        return self.run(x, scale, shift)


class KeywordsAlone(Site):
    def forward(self, x, bias=0.5, *, scale=2.0, shift):
        return self.run(x + bias, scale, shift)


class ByPlaceAlone(Site):
    def forward(self, x, shift, /, bias=0.5, *rest, scale=2.0):
        return self.run(x + bias, scale, shift)


class Nested(Site):
    def forward(self, x, pair=(1.0, 3.0), *rest, others=(2.0, 0.5), is_run=True):
        return self.run(x * pair[0], others[0], others[1] * pair[1]) if is_run else x


ONE, OTHER = torch.rand(2, 4, 8, 8), torch.rand(2, 4, 8, 8)
SIGNATURES = [
    (Starred, IMAGES),
    (Starred, {"x": IMAGES, "shift": ONE}),
    (Starred, {"shift": ONE, "x": IMAGES, "scale": OTHER}),
    (Starred, {"x": IMAGES, "scale": 3.0}),
    (StarredBetween, (IMAGES,)),
    (StarredBetween, (IMAGES, 3.0)),
    (StarredBetween, (IMAGES, ONE)),
    (StarredBetween, {"x": IMAGES, "shift": ONE}),
    (RequiredBehindDefault, {"x": IMAGES, "shift": ONE}),
    (RequiredBehindDefault, {"x": IMAGES, "shift": 4.0}),
    (RequiredBehindDefault, {"shift": ONE, "x": IMAGES, "scale": OTHER}),
    (KeywordsAlone, {"x": IMAGES, "shift": ONE}),
    (KeywordsAlone, {"x": IMAGES, "shift": ONE, "scale": OTHER}),
    (KeywordsAlone, {"x": IMAGES, "bias": 2.0, "shift": 4.0}),
    (ByPlaceAlone, (IMAGES, ONE)),
    (ByPlaceAlone, (IMAGES, ONE, 3.0)),
    (Nested, IMAGES),
    (Nested, {"x": IMAGES, "others": (ONE, 2.0)}),
    (Nested, {"x": IMAGES, "pair": (2.0, ONE), "others": (OTHER, ONE)}),
]


@pytest.mark.parametrize(("kind", "example"), SIGNATURES)
def test_each_parameter_has_its_own_value(kind, example):
    model = kind().eval()
    function = ForwardCode.of(graph_of(model, example)).function
    run_code: Any = functools.partial(function, model)
    found = call(run_code, example)
    torch.testing.assert_close(found, call(model, example))
    expected = inspect.signature(kind.forward).parameters
    parameters = inspect.signature(function).parameters
    assert list(parameters) == list(expected)
    if "rest" in expected:
        defaults = [each.default for each in expected.values()]
        assert [each.default for each in parameters.values()] == defaults


def test_a_keyword_that_is_not_given_is_refused():
    model = KeywordsAlone().eval()
    function = ForwardCode.of(graph_of(model, {"x": IMAGES, "shift": ONE})).function
    with pytest.raises(VirtualPoolError, match="shift is None; the model was pooled with a tensor"):
        function(model, IMAGES)


class Pair(nn.Module):
    """A module without convolutions, which gives two maps."""

    def forward(self, x):
        return 2 * x, x.mean()


class Unpacking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.pair, self.second = nn.Conv2d(3, 3, 3), Pair(), nn.Conv2d(3, 2, 3)

    def forward(self, x):
        doubled, mean = self.pair(self.first(x))
        return self.second(doubled + mean)


def test_code_takes_apart_what_a_module_gives():
    sites = vp.sites(Unpacking(), torch.rand(1, 3, 12, 12))
    assert [site.eligible for site in sites] == [True, True]
