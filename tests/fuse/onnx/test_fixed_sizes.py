"""Which ONNX files of fused networks are refused, and that the others give the same numbers."""

import re
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool.errors import VirtualPoolError
from virtualpool.fuse.onnx.fixed_sizes import of_fixed_sizes

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

IMAGE = torch.randn(2, 3, 20, 22)
OPEN = torch.export.Dim.DYNAMIC


def pooled() -> nn.Module:
    layers = [
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.MaxPool2d(2),
        nn.Conv2d(8, 4, 3, padding=1),
    ]  # fmt: skip
    return vp.apply(nn.Sequential(*layers).eval(), IMAGE, ["0", "2"])


def session(model: nn.Module, file, axes):
    shapes = (dict.fromkeys(axes, OPEN),)
    torch.onnx.export(model, (IMAGE,), file, dynamo=True, verbose=False, dynamic_shapes=shapes)
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def outputs(session, images: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


@pytest.mark.parametrize("axes", [(2,), (3,), (0, 2, 3)])
def test_rows_and_columns_that_are_open(axes, tmp_path):
    with pytest.raises(Exception, match=re.escape("Leave axes 2 and 3 out")):
        session(vp.fuse(pooled(), IMAGE), tmp_path / "model.onnx", axes)


@torch.no_grad()
def test_an_open_batch(tmp_path):
    fused = vp.fuse(pooled(), IMAGE)
    opened = session(fused, tmp_path / "model.onnx", (0,))
    for count in (1, 3):
        images = torch.randn(count, *IMAGE.shape[1:])
        torch.testing.assert_close(outputs(opened, images), fused(images), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [(20, 22), (19, 22), (24, 25), (31, 17)])
def test_unfused_every_size_is_right(size, tmp_path):
    written = pooled()
    images = torch.randn(1, 3, *size)
    found = outputs(session(written, tmp_path / "model.onnx", (0, 2, 3)), images)
    torch.testing.assert_close(found, written(images), rtol=1e-4, atol=1e-5)


def test_elsewhere_nothing_is_refused():
    inputs = (IMAGE,), {}
    assert of_fixed_sizes(inputs, "Network") is inputs
    program = torch.export.export(vp.fuse(pooled(), IMAGE), (IMAGE,), dynamic_shapes=({2: OPEN},))
    assert program.module()(IMAGE[:, :, :16]).shape == (2, 4, 8, 11)


def test_in_a_trace_of_dynamo_sizes_are_taken_to_be_open(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("virtualpool.operator.exporting.is_in_onnx_export", lambda: True)
    monkeypatch.setattr("torch.compiler._is_exporting_flag", True)
    of_fixed_sizes((IMAGE,), "Network")
    monkeypatch.setattr("torch.compiler.is_dynamo_compiling", lambda: True)
    with pytest.raises(VirtualPoolError, match="Network is fused"):
        of_fixed_sizes((IMAGE,), "Network")


def of_torchscript(fused: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and tells of each constant
        return torch.jit.trace(fused, (IMAGE,), check_trace=False)


@torch.no_grad()
def test_a_torchscript_is_the_same_and_takes_no_other_size():
    fused = vp.fuse(pooled(), IMAGE)
    traced = of_torchscript(fused)
    images = torch.randn(1, *IMAGE.shape[1:])
    torch.testing.assert_close(traced(images), fused(images), rtol=1e-4, atol=1e-5)
    for size in ((24, 22), (20, 21)):
        with pytest.raises(RuntimeError, match="must match the existing size"):
            traced(torch.randn(1, 3, *size))


@torch.no_grad()
def test_the_older_exporter_of_onnx(tmp_path):
    fused, file = vp.fuse(pooled(), IMAGE), tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(fused, (IMAGE,), file, dynamo=False)
    opened = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    images = torch.randn_like(IMAGE)
    torch.testing.assert_close(outputs(opened, images), fused(images), rtol=1e-4, atol=1e-5)
