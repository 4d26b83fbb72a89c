"""`checkouts.py`: both orders of arguments of `apply`, and the row of a network."""

from typing import Any

import pytest
import torch
from torch import nn

import virtualpool as vp
from benchmarks.speed import checkout_worker, checkouts

APPLY = vp.apply
IMAGE = torch.rand(1, 3, 16, 16)


def chain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()


def before(model: nn.Module, sites: Any, example_inputs: Any) -> nn.Module:
    """`apply` as it was before 0.2.0."""
    return APPLY(model, example_inputs, sites)


@pytest.mark.parametrize("apply", [before, APPLY])
def test_libraries_of_both_orders_of_arguments(monkeypatch, apply) -> None:
    monkeypatch.setattr(checkout_worker.vp, "apply", apply)
    monkeypatch.setattr(torch, "compile", lambda model: model)
    made = checkout_worker.Made.fused(chain(), IMAGE)
    assert made.fused_sites == "1"
    torch.testing.assert_close(made.call(), APPLY(chain(), IMAGE)(IMAGE))


def test_questions_and_answers(monkeypatch) -> None:
    made = checkout_worker.Made(lambda: torch.tensor([1.0, 2.0]), "3")
    monkeypatch.setattr(checkout_worker.Made, "of", lambda name: made)
    first, second = checkout_worker.serve(['{"network": "net"}', '{"seconds": 0.001}'])
    assert first == '{"outputs": [1.0, 2.0], "sites": "3"}'
    assert second.startswith('{"ms": 0.')


def test_a_row() -> None:
    made = [{"outputs": [1.0, 2.0]}, {"outputs": [1.0, 2.5]}]
    assert checkouts.difference(made) == 0.25
    found = checkouts.row("net", [[4.0, 6.0, 9.0], [2.0, 6.0, 3.0]])
    assert found == ["net", "6.0", "3.0", "2.000", "1.200", "2.800"]
