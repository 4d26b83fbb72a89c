from pathlib import Path

import pytest

from virtualpool import Plan, PooledSite
from virtualpool.export import ExportReport
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
        model={"name": "Net", "plan": plan.to_json(), "fused": len(plan.sites)},
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
