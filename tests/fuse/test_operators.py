"""With padded borders a fused network has the unmodified one's operations, and those of ends."""

import ast
import functools
from collections import Counter
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

import virtualpool as vp
from tests.fuse.kinds import KINDS, network
from virtualpool.fuse.kernels import max_pooling, reduced
from virtualpool.fuse.questions.sizes import size_of
from virtualpool.operator.pool import virtual_pool, window_size

# What the operations of an unmodified network are in a fused one.
SAME: dict[Any, Any] = {
    nn.Conv2d: torch.conv2d,
    nn.ReLU: functional.relu,
    nn.ReLU6: functional.relu6,
    nn.SiLU: functional.silu,
    nn.MaxPool2d: max_pooling.max_pool,
    functional.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    reduced.mean: nn.AdaptiveAvgPool2d,
}
# Folded, without effect in eval mode, or of numbers in Python alone.
NOTHING = {
    *(nn.BatchNorm2d, nn.Dropout, nn.Identity, StochasticDepth, nn.Sequential),
    *(getattr, window_size, size_of),
}
IMAGES = torch.rand(1, 3, 64, 64)


def operations(called: Any) -> Counter[Any]:
    return Counter(SAME.get(kind, kind) for kind in called if kind not in NOTHING)


def unmodified(model: nn.Module) -> Counter[Any]:
    nodes = [node for node in fx.Tracer().trace(model).nodes if node.op.startswith("call")]
    return operations(
        type(model.get_submodule(str(node.target))) if node.op == "call_module" else node.target
        for node in nodes
    )


def fused(model: nn.Module, border: Any) -> Counter[Any]:
    """The calls in the code of the fused network."""
    made: Any = vp.fuse(vp.apply(model, IMAGES, border=border), IMAGES)
    code = made.evaluation
    calls = [each for each in ast.walk(ast.parse(code.source)) if isinstance(each, ast.Call)]
    return operations(_called(ast.unparse(call.func), made, code.names) for call in calls)


def _called(path: str, model: nn.Module, names: dict[str, Any]) -> Any:
    if path.startswith(("self.", "getattr(")):
        return type(eval(path, {"self": model}))
    first, _, rest = path.partition(".")
    if first not in names:
        return getattr if path == "getattr" else path.rpartition(".")[2]
    return functools.reduce(getattr, filter(None, rest.split(".")), names[first])


@pytest.mark.parametrize("name", KINDS)
def test_the_operations_are_those_of_the_unmodified_network(name):
    model = network(name)
    before, after = unmodified(model), fused(model, "padded")
    assert after[torch.conv2d] == before[torch.conv2d] > 4
    # A map is in full where the network ends.
    ends = {virtual_pool} if name == "YOLOv8n" else set()
    assert set(after - before) == ends


def test_with_exact_borders_there_are_more():
    model = network("VGG-16")
    assert (fused(model, "exact") - unmodified(model))[reduced.framed] == 3
