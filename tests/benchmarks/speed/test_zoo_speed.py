"""`zoo_speed.py`: the tables of networks that were measured before, one number in a cell."""

from benchmarks.common.comparison import Comparison
from benchmarks.speed import zoo_speed


def measured(network: str, unmodified_ms: list[float]) -> Comparison:
    return Comparison(
        network, 1, "compiled", "a machine",
        samples_ms={"unmodified": unmodified_ms, "unfused": [2.0], "fused": [1.0]},
    )  # fmt: skip


def test_tables() -> None:
    report = zoo_speed.report([measured("one", [2.0, 4.0, 4.0]), measured("two", [2.0, 2.0, 6.0])])
    assert "| one | 4.00 | 2.00 | 4.00 | – | – |" in report
    assert "| 10th | 0.80 | 0.60 | one |" in report
    assert "| 90th | 1.80 | 2.60 | two |" in report
