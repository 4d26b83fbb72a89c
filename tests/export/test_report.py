from pathlib import Path

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool import Plan, PooledSite
from virtualpool.export import ExportReport
from virtualpool.export.report import described
from virtualpool.measure import Latency, Setting
from virtualpool.plan import Border

SETTING = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")


def report(plan: Plan, *samples_ms: float) -> ExportReport:
    """Of a file whose calls took so long, beside an original that took 3 ms each time."""
    return ExportReport(
        path=Path("net.onnx"),
        format="onnx",
        runtime="a runtime",
        precision="float32",
        open_axes="none",
        size_bytes=1,
        model={"name": "Net", "plan": plan.to_json(), "pooled": 1, "fused": 1},
        operators={"Conv": 1},
        not_run="it runs elsewhere",
        latency=Latency(samples_ms, SETTING),
        original_latency=Latency((3.0,) * len(samples_ms), SETTING),
    )


@pytest.mark.parametrize(
    ("ms", "border", "names", "is_said"),
    [
        (9.0, "exact", ["0"], True),
        (9.0, "padded", ["0"], False),
        (9.0, "exact", [], False),
        (2.0, "exact", ["0"], False),
    ],
)
def test_exact_borders_that_cost_more_than_they_save_are_named(
    ms: float, border: Border, names: list[str], is_said: bool
) -> None:
    plan = Plan(tuple(map(PooledSite, names)), border=border)
    assert ('Pool with border="padded"' in str(report(plan, ms))) == is_said


@pytest.mark.parametrize(("slowest_ms", "is_said"), [(1.1, False), (2.0, True)])
def test_a_busy_machine_is_named(slowest_ms: float, is_said: bool) -> None:
    said = str(report(Plan(), 1.0, slowest_ms, 1.0, slowest_ms))
    assert ("The machine was busy: the speed-up" in said) == is_said


def test_the_sites_of_a_part_count_alone():
    def block() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())

    images = torch.rand(1, 3, 8, 8)
    network = nn.Sequential(block(), block(), nn.Conv2d(3, 2, 1))
    model = vp.fuse(vp.apply(network, images, ["0.0", "1.0"]), images)
    whole, part = described(model), described(model, "0")
    assert (whole["pooled"], whole["fused"]) == (2, 1)  # the last one reads the second in full
    assert (part["pooled"], part["fused"], part["part"]) == (1, 1, "0")
