"""With padded borders a file of a fused network takes images of any size."""

import operator
from collections import Counter
from typing import Any

import pytest
import torch
from tests.fuse.kinds import KINDS, network
from torch import fx, nn

import virtualpool as vp

pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

OPEN = torch.export.Dim.DYNAMIC
IMAGES = torch.rand(2, 3, 64, 70)
SIZES = [(1, 64, 64), (3, 65, 64), (2, 64, 67), (1, 63, 65), (2, 96, 80), (1, 97, 81), (1, 70, 75),
         (4, 77, 66)]  # fmt: skip


def written(model: nn.Module, file: Any, images: torch.Tensor, axes: Any = ()) -> Any:
    """The graph in the file that is written of a model."""
    shapes = (dict.fromkeys(axes, OPEN),)
    torch.onnx.export(model, (images,), file, dynamo=True, verbose=False, dynamic_shapes=shapes)
    return onnx.load(file).graph


@torch.no_grad()
@pytest.mark.parametrize("name", ["VGG-16", "EfficientNet-B0"])
def test_every_size_is_right(name, tmp_path):
    pooled = vp.apply(network(name), IMAGES, border="padded")
    written(vp.fuse(pooled, IMAGES), tmp_path / "open.onnx", IMAGES, (0, 2, 3))
    session = onnxruntime.InferenceSession(tmp_path / "open.onnx")
    for size in SIZES:
        images = torch.rand(size[0], 3, *size[1:])
        wanted: Any = pooled(images)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        found = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(torch.as_tensor(one), other, rtol=1e-3, atol=1e-5)


# What poolings and ends need beside the operators of the unmodified network.
MORE = {
    "VGG-16": Counter(Conv=8, Add=8),  # two max poolings of 2x2
    "ResNet-50": Counter(Conv=9, Max=8),  # a max pooling of 3x3
    "YOLOv8n": Counter(Resize=2),  # the ends, which are wanted in full
}
NAMES = {torch.add: "Add", operator.add: "Add", operator.iadd: "Add", torch.cat: "Concat"}


class Beside(nn.Module):
    """Networks on the same images: to export them together takes less time."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: torch.Tensor) -> list[Any]:
        return [each(images) for each in self.networks]


def test_of_one_size_the_operators_are_those_of_the_unmodified_network(tmp_path):
    images = torch.rand(1, 3, 64, 64)
    models = {name: network(name) for name in KINDS}
    fused = [vp.fuse(vp.apply(each, images, border="padded"), images) for each in models.values()]
    graph = written(Beside(fused).eval(), tmp_path / "net.onnx", images)
    outputs = [each.name for each in graph.output]
    for name, model in models.items():
        found = made_of(graph, outputs, 2 if name == "YOLOv8n" else 1)
        named = (NAMES.get(node.target) for node in fx.Tracer().trace(model).nodes)
        before = Counter(filter(None, named))
        before["Conv"] = sum(isinstance(module, nn.Conv2d) for module in model.modules())
        moving = ("Conv", "Add", "Concat", "Max", "MaxPool", "Pad", "Slice", "Resize", "Gather")
        expected = before + MORE.get(name, Counter())
        assert {each: found[each] for each in moving} == {each: expected[each] for each in moving}


def made_of(graph: Any, outputs: list[str], count: int) -> Counter[str]:
    """The operators that the first outputs are made of; these are taken from the list."""
    makers = {output: node for node in graph.node for output in node.output}
    wanted = [outputs.pop(0) for _ in range(count)]
    seen: dict[str, str] = {}
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and node.output[0] not in seen:
            seen[node.output[0]] = node.op_type
            wanted += node.input
    return Counter(seen.values())


def test_exact_borders_name_the_padded_ones(tmp_path):
    fused = vp.fuse(vp.apply(network("VGG-16"), IMAGES), IMAGES)
    with pytest.raises(Exception, match="pool with border='padded'"):
        written(fused, tmp_path / "open.onnx", IMAGES, (2,))


def test_example_images_that_are_too_small_are_refused(tmp_path):
    # PyTorch takes lengths of one for fixed, and a file would not say so.
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)).eval()
    images = torch.rand(2, 3, 4, 9)
    fused = vp.fuse(vp.apply(model, images, border="padded"), images)
    with pytest.raises(Exception, match="Export with larger images"):
        written(fused, tmp_path / "open.onnx", images, (2, 3))
