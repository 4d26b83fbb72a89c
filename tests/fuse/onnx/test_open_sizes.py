"""With padded borders a file of a fused network takes images of any size."""

from collections import Counter
from typing import Any

import pytest
import torch
from tests.fuse.kinds import network
from torch import nn

import virtualpool as vp

pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

OPEN = torch.export.Dim.DYNAMIC
IMAGES = torch.rand(2, 3, 64, 70)
SIZES = [(1, 64, 64), (3, 65, 64), (2, 64, 67), (1, 63, 65), (2, 96, 80), (1, 97, 81), (1, 70, 75),
         (4, 77, 66)]  # fmt: skip


def exported(model: nn.Module, file: Any, images: torch.Tensor, axes: Any = ()) -> Counter[str]:
    """The operators of the file that is written of a model."""
    shapes = (dict.fromkeys(axes, OPEN),)
    torch.onnx.export(model, (images,), file, dynamo=True, verbose=False, dynamic_shapes=shapes)
    return Counter(node.op_type for node in onnx.load(file).graph.node)


@torch.no_grad()
@pytest.mark.parametrize("name", ["VGG-16", "EfficientNet-B0"])
def test_every_size_is_right(name, tmp_path):
    pooled = vp.apply(network(name), IMAGES, border="padded")
    exported(vp.fuse(pooled, IMAGES), tmp_path / "open.onnx", IMAGES, (0, 2, 3))
    session = onnxruntime.InferenceSession(tmp_path / "open.onnx")
    for size in SIZES:
        images = torch.rand(size[0], 3, *size[1:])
        wanted: Any = pooled(images)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        found = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(torch.as_tensor(one), other, rtol=1e-3, atol=1e-5)


def test_of_one_size_the_operators_are_those_of_the_unmodified_network(tmp_path):
    model = network("EfficientNet-B0")
    fused = vp.fuse(vp.apply(model, IMAGES, border="padded"), IMAGES)
    before = exported(model, tmp_path / "unmodified.onnx", IMAGES)
    after = exported(fused, tmp_path / "fused.onnx", IMAGES)
    means = before["ReduceMean"]
    # A mean over a recovered map is a product with the shares of its cells.
    assert before - after == Counter(ReduceMean=means)
    assert set(after - before) <= {"Reshape", "MatMul", "Unsqueeze"}


def test_exact_borders_name_the_padded_ones(tmp_path):
    fused = vp.fuse(vp.apply(network("VGG-16"), IMAGES), IMAGES)
    with pytest.raises(Exception, match="pool with border='padded'"):
        exported(fused, tmp_path / "open.onnx", IMAGES, (2,))


def test_example_images_that_are_too_small_are_refused(tmp_path):
    # PyTorch takes lengths of one for fixed, and a file would not say so.
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)).eval()
    images = torch.rand(2, 3, 4, 9)
    fused = vp.fuse(vp.apply(model, images, border="padded"), images)
    with pytest.raises(Exception, match="Export with larger images"):
        exported(fused, tmp_path / "open.onnx", images, (2, 3))
