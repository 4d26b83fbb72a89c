"""A model as parts: which modules are one graph, which stay whole, and why."""

from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.graph.forward import ForwardCode
from virtualpool.graph.parts import UntraceableError, part_of, trace
from virtualpool.graph.running import calls, evaluating, run

IMAGES = torch.rand(2, 3, 8, 8)


def conv():
    return nn.Conv2d(3, 3, 3, padding=1)


def block():
    return nn.Sequential(conv(), nn.ReLU())


class Branching(nn.Module):
    """Its own code cannot be traced; its block can."""

    def __init__(self):
        super().__init__()
        self.block = block()
        self.last = conv()

    def forward(self, images):
        images = self.block(images)
        return self.last(images) if images.sum() > 0 else images


class Around(nn.Module):
    """Can be traced around a part that cannot."""

    def __init__(self):
        super().__init__()
        self.stem = block()
        self.part = Branching()
        self.head = block()

    def forward(self, images):
        return self.head(self.part(self.stem(images)))


class Unused(nn.Module):
    """Its second block is for training."""

    def __init__(self):
        super().__init__()
        self.first, self.second = block(), Branching()

    def forward(self, images):
        if images.sum() < 0:
            images = -images
        images = self.first(images)
        return self.second(images) if self.training else images


class Forgetful(nn.Module):
    """Gives other values than its trace: a list is filled once, while it is traced."""

    def __init__(self):
        super().__init__()
        self.block = block()
        self.turns = []

    def forward(self, images):
        images = self.block(images)
        self.turns += [1.0]
        return images * len(self.turns)


class Stateful(nn.Module):
    """Goes on from the buffer that the call before left."""

    def __init__(self):
        super().__init__()
        self.conv = conv()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images):
        self.calls += 1
        return self.conv(images) * self.calls


class StatefulInPlace(Stateful):
    """Does so by an operation that a graph has too."""

    calls: torch.Tensor

    def forward(self, images):
        return self.conv(images) * self.calls.add_(1)


class Attentive(nn.Module):
    """Leaves a map to look at."""

    def __init__(self):
        super().__init__()
        self.gate, self.attention = block(), None

    def forward(self, images):
        self.attention = self.gate(images)
        return images * self.attention


class Blocked(nn.Module):
    """Has one block, and the other methods of a subclass."""

    def __init__(self):
        super().__init__()
        self.block = block()
        self.losses: dict[str, list[torch.Tensor]] = {"sparsity": []}
        self.note = nn.Identity()
        self.before = torch.zeros(1)


class Regularised(Blocked):
    def forward(self, images):
        images = self.block(images)
        if self.training:
            self.losses["sparsity"].append(images.mean())
        return images


class Sized(Blocked):
    def forward(self, images):
        self.size = (images.shape[2], images.shape[3])
        return self.block(images)


class Noting(Blocked):
    def forward(self, images):
        images = self.block(images)
        self.note.value = images
        return images


class Delayed(Blocked):
    def forward(self, images):
        images = self.block(images)
        delayed, self.before = self.before, images
        return images + delayed


class Listed(nn.Module):
    """Its blocks are in a list, which is never called itself."""

    def __init__(self):
        super().__init__()
        self.all = nn.ModuleList([block(), block()])

    def forward(self, images):
        grid = sum(range(images.shape[-1]))
        return [each(images) + grid for each in self.all]


class Answer(OrderedDict):
    """A dict class, as a library may have."""


@dataclass
class Fields(OrderedDict):
    """A dataclass that holds its fields as items, as the outputs of transformers do."""

    last: torch.Tensor
    more: torch.Tensor | None = None

    def __post_init__(self):
        self.update({key: value for key, value in vars(self).items() if value is not None})


class Answering(Blocked):
    def forward(self, images):
        return Answer(last=self.block(images), inner=[Answer(size=images.shape[2])])


class AnsweringFields(Blocked):
    def forward(self, images):
        return Fields(self.block(images))


class Trained(nn.Module):
    """Can be traced in evaluation alone."""

    def __init__(self):
        super().__init__()
        self.block = block()

    def forward(self, images):
        images = self.block(images)
        return images if not self.training or images.sum() > 0 else -images


def with_its_own_forward():
    network = nn.Sequential(block(), conv())
    setattr(network, "forward", lambda images: network[0](images))  # noqa: B010
    return network


def with_a_hook():
    network = nn.Sequential(block(), conv())
    network[0].register_forward_hook(lambda *_: None)
    return network


def with_a_hook_of_gradients():
    network = nn.Sequential(block(), conv())
    network[0].register_full_backward_hook(lambda *_: None)
    return network


def two_names():
    shared = block()
    return nn.Sequential(shared, shared)


CONTROL_FLOW = "cannot be traced (TraceError: symbolically traced variables"
CASES = {
    # the names of the parts, the modules left whole in each, and why the rest is none
    "a whole": (block, {"": []}, {}),
    "no convolution": (lambda: nn.Sequential(nn.ReLU()), {}, {}),
    "a convolution": (conv, {}, {"": "is a convolution by itself"}),
    "nested": (lambda: nn.Sequential(block(), nn.Sequential(block())), {"": []}, {}),
    "control flow": (Branching, {"block": []}, {"": CONTROL_FLOW}),
    "control flow within": (
        Around, {"": ["part"], "part.block": []}, {"part": CONTROL_FLOW},
    ),
    "control flow in training": (Trained, {"block": []}, {"": CONTROL_FLOW}),
    "never called": (
        Unused, {"first": []},
        {"": CONTROL_FLOW},
    ),
    "other values": (Forgetful, {"block": []}, {"": "gives other values than its trace"}),
    "state": (Stateful, {}, {"": "leaves calls on itself"}),
    "state in place": (StatefulInPlace, {"": []}, {}),
    "a map": (Attentive, {"gate": []}, {"": "leaves attention on itself"}),
    "a map within": (
        lambda: nn.Sequential(block(), Attentive()), {"": ["1"], "1.gate": []},
        {"1": "leaves attention on itself"},
    ),
    "a loss of training": (Regularised, {"block": []}, {"": "leaves losses on itself"}),
    "a size": (Sized, {"block": []}, {"": "leaves size on itself"}),
    "a note on a part": (Noting, {"block": []}, {"": "leaves note.value on itself"}),
    "a value left by the call before": (Delayed, {"block": []}, {"": "leaves before on itself"}),
    "lists of modules": (
        Listed, {"all.0": [], "all.1": []}, {"": "cannot be traced (TypeError"},
    ),
    "an output of its own class": (Answering, {"": []}, {}),
    "a dataclass that is a dict": (AnsweringFields, {"": []}, {}),
    "a forward of its own": (with_its_own_forward, {"0": []}, {"": "a forward of its own"}),
    "hooks": (with_a_hook, {"": ["0"], "0": []}, {}),
    "hooks of gradients": (with_a_hook_of_gradients, {"": ["0"], "0": []}, {}),
    "one under two names": (two_names, {"": []}, {}),
}  # fmt: skip


@pytest.mark.parametrize(("make", "parts", "untraced"), CASES.values(), ids=CASES)
def test_parts_and_reasons(make, parts, untraced):
    network = make().train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    traced = trace(network, IMAGES)
    assert {part.name: sorted(part.opaque) for part in traced.parts} == parts
    assert list(traced.untraced) == list(untraced)
    for name, reason in untraced.items():
        assert reason in traced.untraced[name]
    assert all(module.training for module in network.modules())
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_a_part_runs_as_its_module_and_knows_its_names():
    network = Around().eval()
    for part in trace(network, IMAGES).parts:
        function = ForwardCode.of(part.evaluation).function
        torch.testing.assert_close(function(part.module, IMAGES), part.module(IMAGES))
    whole, inner = trace(network, IMAGES).parts
    assert (inner.full_name("0"), inner.own_name("part.block.0")) == ("part.block.0", "0")
    assert (whole.full_name("stem.0"), whole.own_name("stem.0")) == ("stem.0", "stem.0")
    assert [node.target for node in whole.calls(whole.evaluation, "stem.0")] == ["stem.0"]
    assert [node.target for node in inner.calls(inner.training, "part.block.0")] == ["0"]
    # It has a convolution of that name itself, which is another one.
    assert inner.calls(inner.evaluation, "0") == []


def test_a_part_is_refused_with_the_innermost_culprit():
    network = nn.Sequential(Around()).eval()
    with pytest.raises(UntraceableError, match="symbolically traced variables") as refused:
        part_of("", network, ((IMAGES,), {}), frozenset())
    assert refused.value.culprit == "0.part"
    assert part_of("", network, ((IMAGES,), {}), frozenset(["0.part"])).opaque == {"0.part"}


def test_evaluating_leaves_no_trace():
    network = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout().eval())).train()
    flags = [module.training for module in network.modules()]
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="stop"), evaluating(network):
        assert not any(module.training for module in network.modules())
        assert not torch.is_grad_enabled()
        torch.rand(1)
        raise ValueError("stop")
    assert [module.training for module in network.modules()] == flags
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()


def test_a_run_is_always_the_same_and_spares_its_inputs():
    network = nn.Sequential(nn.Dropout(), nn.ReLU(inplace=True)).train()
    images = IMAGES - 0.5
    first, second = (run(network, ((images,), {})) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(images, IMAGES - 0.5)


def test_a_model_that_does_not_run_is_refused_with_the_shapes():
    with pytest.raises(VirtualPoolError, match=r"Sequential does not run .*shape \(2, 3, 8, 8\)"):
        trace(nn.Sequential(nn.Conv2d(4, 4, 1)), IMAGES)


def test_calls_are_what_each_part_receives_first():
    network = Around()
    found = calls(network, IMAGES, lambda tensor: tensor.to("meta"))
    assert list(found) == ["", "stem", "part", "part.block", "head"]
    ((images,), keywords) = found["part"]
    assert (images.device.type, images.shape, keywords) == ("meta", (2, 3, 8, 8), {})
    assert not any(module._forward_pre_hooks for module in network.modules())
