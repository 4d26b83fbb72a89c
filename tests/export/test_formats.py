"""The formats: by suffix and by name, and those that need more than the tests' own packages."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

import virtualpool as vp
from tests.export.networks import IMAGES, fused
from virtualpool.cli import export as command
from virtualpool.export import aoti, coreml
from virtualpool.export.format import Precision
from virtualpool.export.formats import FORMATS, format_of


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.onnx", "onnx"),
        ("a.xml", "openvino"),
        ("a.b.pt2", "pt2"),
        ("a.pte", "executorch"),
        ("a.mlpackage", "coreml"),
    ],
)
def test_formats_by_suffix(path: str, name: str) -> None:
    assert format_of(Path(path), None).name == name


def test_each_format_by_name_and_on_the_command_line() -> None:
    for name, format in FORMATS.items():
        assert format_of(Path(f"a{format.suffix}"), name) is format

    assert {*get_args(sys.modules[command.__module__].Format)} == {*FORMATS}


def test_machine_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # To compile takes half a minute: the benchmark does it.
    monkeypatch.setattr(aoti, "compiled_package", torch.export.save)
    monkeypatch.setattr(aoti, "loaded_package", lambda path: torch.export.load(path).module())
    network, image = nn.Conv2d(1, 2, 1).eval(), torch.rand(1, 1, 4, 4)
    report = vp.export(network, tmp_path / "net.pt2", image, format="aoti")
    assert report.operators == {"conv2d.default": 1}
    assert report.runtime.startswith("AOTInductor")


@pytest.mark.skipif(find_spec("executorch") is None, reason="needs executorch")
def test_executorch(tmp_path: Path) -> None:
    report = vp.export(fused(), tmp_path / "net.pte", IMAGES)
    assert report.operators["executorch_call_delegate"] >= 1
    with pytest.raises(vp.VirtualPoolError, match="not written with open_axes='batch'"):
        vp.export(fused(), tmp_path / "net.pte", IMAGES, open_axes="batch")


def test_limits_of_core_ml_are_floats_where_the_map_is() -> None:
    class Limited(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.hardtanh(x, 0, 6).clamp(0, 3) + x.long().clamp(0, 3)

    program = torch.export.export(Limited(), (torch.rand(2),))
    coreml._with_limits_in_float(program.graph)
    limits = [node.args[1:] for node in program.graph.nodes if len(node.args) == 3]
    assert [[*map(type, each)] for each in limits] == [[float] * 2, [float] * 2, [int] * 2]


@pytest.mark.skipif(find_spec("coremltools") is None, reason="needs coremltools")
def test_core_ml(tmp_path: Path) -> None:
    path = tmp_path / "net.mlpackage"
    precisions: tuple[Precision, ...] = ("float32", "float16")
    for precision in precisions:  # the second takes the place of the first
        report = vp.export(fused(), path, IMAGES, precision=precision)
        assert report.operators["conv"] >= 2
        assert report.size_bytes == sum(
            each.stat().st_size for each in path.rglob("*") if each.is_file()
        )
    assert {each.name for each in tmp_path.iterdir()} == {path.name, f"{path.name}.card.json"}


@pytest.mark.skipif(find_spec("nncf") is None, reason="needs nncf")
def test_int8_of_openvino(tmp_path: Path) -> None:
    batches = [torch.rand(4, 3, 20, 22) for _ in range(2)]
    path = tmp_path / "net.xml"
    report = vp.export(fused(), path, IMAGES, precision="int8", calibration=batches)
    assert report.agreement is not None
    assert report.agreement.cosine > 0.99
