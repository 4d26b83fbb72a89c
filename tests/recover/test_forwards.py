from typing import Any

import pytest
import torch
from torch import nn

from virtualpool.recover.forwards import PausedForward, pausing_at


def model() -> Any:
    return nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))


def test_a_layer_that_is_changed_at_its_pause_runs_changed():
    network, x = model(), torch.rand(3, 2)
    with pausing_at(network, before=["0", "2"]):
        forwards = [PausedForward(lambda: network(x)) for _ in range(2)]
        seen = [[forward.advance() for forward in forwards] for _ in range(2)]
        with torch.no_grad():
            network[2].weight.zero_()
        assert [forward.advance() for forward in forwards] == [None, None]
    for at, name, given in ((0, "0", x), (1, "2", network[:2](x))):
        assert all(pause is not None and pause[0] == name for pause in seen[at])
        assert all(pause is not None and torch.equal(pause[1], given) for pause in seen[at])
    expected = network[2].bias.expand(3, 1)
    assert all(torch.equal(forward.result, expected) for forward in forwards)
    assert forwards[0].advance() is None


def test_after_a_layer_its_output_is_given():
    network, x = model(), torch.rand(3, 2)
    with pausing_at(network, after=["0"]):
        forward = PausedForward(lambda: network(x))
        pause = forward.advance()
        forward.give_up()
        forward.give_up()
    assert pause is not None
    assert torch.equal(pause[1], network[0](x))
    assert forward.result is None


def test_what_a_call_raises_is_raised_where_it_goes_on():
    forward = PausedForward(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        forward.advance()


def test_other_calls_of_the_model_do_not_pause():
    network = model()
    with pausing_at(network, before=["0"]):
        assert network(torch.rand(1, 2)).shape == (1, 1)
    assert not network[0]._forward_pre_hooks


def test_a_forward_that_never_began_is_given_up():
    forward = PausedForward(lambda: 1)
    forward.give_up()
    assert forward.result is None
