"""`operators.py`: the operators that the runtimes report, and its table."""

from pathlib import Path

import pytest
import torch
from torch import nn

import virtualpool as vp
from benchmarks.speed import profiles


@pytest.mark.parametrize(
    ("runtime", "interpolation", "convolution"),
    [("ONNX Runtime", "Upsample", "Conv"), ("OpenVINO", "Interpolate", "Convolution")],
)
def test_profiles(tmp_path: Path, runtime: str, interpolation: str, convolution: str) -> None:
    images = torch.rand(1, 3, 16, 16)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, stride=2), nn.Flatten()]
    pooled = vp.apply(nn.Sequential(*layers).eval(), images, ["0"])
    spent = {}
    for name, model in {"unfused": pooled, "fused": vp.fuse(pooled, images)}.items():
        file = tmp_path / f"{name}.onnx"
        samples = profiles.PROFILES[runtime](model, images, file, 1, 3)
        assert {len(each) for each in samples.values()} == {3}
        spent[name] = profiles.by_kind(samples)
        assert spent[name][convolution] > 0
    assert interpolation in spent["unfused"]
    assert interpolation not in spent["fused"]


def test_kinds_that_take_little_are_left_out_of_the_table_and_not_of_its_sums() -> None:
    spent = {"unfused": {"Conv": 60.0, "Resize": 39.5, "Add": 0.5}, "fused": {"Conv": 20.0}}
    found = profiles.kinds(spent)
    head = ["|  | unfused | fused |", "| --- | --- | --- |"]
    assert found["milliseconds"].splitlines() == [
        *head,
        "| Conv | 60 | 20 |",
        "| Resize | 39.5 | – |",
        "| all | 100 | 20 |",
    ]
    assert found["per cent of the time"].splitlines() == [
        *head,
        "| Conv | 60 | 100 |",
        "| Resize | 40 | – |",
    ]
