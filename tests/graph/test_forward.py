"""A graph as the forward of the module that it came from, which is unchanged in all else."""

import copy
import inspect
import io
import pickle
import traceback
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from virtualpool.graph.forward import (
    ForwardCode,
    Rewritten,
    original_class,
    rewrite_forward,
)
from virtualpool.graph.tracer import Tracer
from virtualpool.torch_private import CONSTANT


class Scaled(nn.Module):
    """A module with everything that a user may have put on it."""

    kind = "scaled"

    def __init__(self, scale: float = 2.0):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.scale = scale
        self.register_buffer("shift", torch.ones(3))

    def forward(self, values, factor=1.0):
        return functional.relu(self.linear(values) * self.scale + self.shift) * factor

    def describe(self):
        return f"{self.kind} by {self.scale}"

    @property
    def twice(self):
        return 2 * self.scale


class Guarded(nn.Module):
    """Decides itself which state is copied: not its cache."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.cache: Any = (value for value in ())

    def __getstate__(self):
        return {**vars(self), "cache": None}

    def __setstate__(self, state):
        super().__setstate__(state)
        self.cache = "restored"

    def forward(self, values):
        return self.linear(values)


VALUES = torch.randn(5, 3)


def graph_of(module: nn.Module, times: float) -> fx.Graph:
    """The module's graph, with its output multiplied, so that it can be told apart."""
    graph = Tracer(module, frozenset()).graph_of(module, ((VALUES,), {}))
    (output,) = graph.find_nodes(op="output")
    with graph.inserting_before(output):
        output.args = (graph.call_function(torch.mul, (output.args[0], times)),)
    return graph


def rewritten(module: Any, evaluation: float = 3.0, training: float = 5.0) -> Any:
    rewrite_forward(module, graph_of(module, evaluation), graph_of(module, training))
    return module


@pytest.mark.parametrize(("training", "times"), [(False, 3.0), (True, 5.0)])
def test_each_mode_has_its_graph(training, times):
    original = Scaled()
    module = rewritten(copy.deepcopy(original)).train(training)
    torch.testing.assert_close(module(VALUES), original(VALUES) * times)


def test_all_else_is_as_it_was():
    original = Scaled()
    module = rewritten(copy.deepcopy(original))
    assert isinstance(module, Scaled)
    assert isinstance(module, Rewritten)
    assert (type(module).__name__, type(module).__module__) == ("PooledScaled", __name__)
    assert type(module).__doc__ == Scaled.__doc__
    assert (module.describe(), module.twice) == ("scaled by 2.0", 4.0)
    assert list(module.state_dict()) == list(original.state_dict())
    assert list(vars(module)) == list(vars(original))
    assert list(inspect.signature(module.forward).parameters) == ["values", "factor"]
    assert type(original) is Scaled


def test_a_second_time_takes_the_place_of_the_first():
    original = Scaled()
    module = rewritten(rewritten(copy.deepcopy(original)).eval(), 2.0, 2.0)
    assert original_class(module) is original_class(original) is Scaled
    assert type(module).__mro__.count(Rewritten) == 1
    torch.testing.assert_close(module(VALUES), original(VALUES) * 3 * 2)


def test_one_graph_for_both_modes_is_the_forward_itself():
    module = rewritten(Scaled(), 2.0, 2.0)
    assert type(module).forward is type(module).evaluation.function
    assert type(rewritten(Scaled())).forward is not type(module).forward


def by_torch(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = [copy.copy, copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module)), by_torch]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("training", [False, True])
def test_a_copy_computes_the_same(copied, training):
    module = rewritten(Scaled()).train(training)
    other = copied(module)
    assert isinstance(other, Scaled)
    assert original_class(other) is Scaled
    assert other.training == training
    torch.testing.assert_close(other(VALUES), module(VALUES))
    rewrite_forward(other, graph_of(other, 0.0), graph_of(other, 0.0))
    assert not other(VALUES).any()
    assert module(VALUES).any()


@pytest.mark.parametrize("copied", COPIES[1:])
def test_a_copy_is_apart_within_a_larger_one_too(copied):
    shared = rewritten(Scaled())
    outer = copied(nn.ModuleDict({"one": shared, "same": shared}))
    assert outer["one"] is outer["same"]
    with torch.no_grad():
        outer["one"].linear.weight.zero_()
    assert shared.linear.weight.any()


@pytest.mark.parametrize("copied", COPIES[1:])
def test_a_class_that_says_what_is_copied_is_heard(copied):
    module = rewritten(Guarded()).eval()
    other = copied(module)
    assert other.cache == "restored"
    torch.testing.assert_close(other(VALUES), module(VALUES))


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, values):
        return self.linear(values) + torch.tensor([1.0, 2.0, 3.0])


def test_tensors_that_the_code_makes_move_with_the_module():
    original = Constant()
    module = rewritten(copy.deepcopy(original), 1.0, 1.0)
    assert list(module.state_dict()) == list(original.state_dict())
    assert [name for name, _ in module.named_buffers() if name.startswith(CONSTANT)]
    double = module.double()
    torch.testing.assert_close(double(VALUES.double()), original(VALUES).double())
    assert {buffer.dtype for buffer in double.buffers()} == {torch.float64}
    for copied in COPIES:
        torch.testing.assert_close(copied(double)(VALUES.double()), double(VALUES.double()))


def test_code_is_a_value():
    code = ForwardCode.of(graph_of(Scaled().eval(), 3.0))
    assert copy.deepcopy(code) is code
    other = pickle.loads(pickle.dumps(code))
    assert other.source == code.source
    assert list(other.names) == list(code.names)
    module = Scaled()
    torch.testing.assert_close(other.function(module, VALUES), code.function(module, VALUES))


def test_modules_in_the_code_are_pickled_by_their_names():
    source = "def forward(self, x):\n    return functional.relu(x)\n"
    code = ForwardCode(source, {"functional": functional})
    other = pickle.loads(pickle.dumps(code))
    assert other.names == {"functional": functional}
    assert torch.equal(other.function(None, VALUES), VALUES.relu())


def test_an_error_shows_the_line_of_the_code():
    module = rewritten(Scaled()).eval()
    with pytest.raises(RuntimeError) as raised:
        module(torch.ones(5, 7))
    frames = traceback.extract_tb(raised.value.__traceback__)
    (line,) = [frame.line for frame in frames if frame.filename.startswith("<virtualpool forward")]
    assert "self.linear(values)" in str(line)


def test_hooks_are_called():
    module, called = rewritten(Scaled()).eval(), []
    module.register_forward_hook(lambda *_: called.append("after"))
    module.linear.register_forward_pre_hook(lambda *_: called.append("before"))
    module(VALUES)
    assert called == ["before", "after"]
