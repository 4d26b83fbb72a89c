"""Answers about modules are asked for once, within a call, and again for another class."""

from typing import Any

from torch import nn

from virtualpool.graph.remembering import answers_remembered, remembered


def test_each_module_is_asked_once_within_and_always_outside():
    asked = []
    size = remembered(lambda module: asked.append(module) or len([*module.modules()]))
    one: Any = nn.Sequential(nn.ReLU())
    other: Any = nn.ReLU()
    with answers_remembered():
        assert [size(one), size(other), size(one)] == [2, 1, 2]
        with answers_remembered():
            assert size(one) == 2
        assert asked == [one, other]
        other.__class__ = nn.Tanh
        assert size(other) == 1
    assert asked == [one, other, other]
    assert [size(one), size(one)] == [2, 2]
    assert len(asked) == 5
