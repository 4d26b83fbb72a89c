"""Energy on the command line."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from virtualpool.measure.energy import finding, measuring
from virtualpool.measure.energy.jetson import jetson
from virtualpool.measure.energy.rapl import rapl

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_sensor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    monkeypatch.setattr(finding, "rapl", functools.partial(rapl, nowhere))
    monkeypatch.setattr(finding, "jetson", functools.partial(jetson, root=nowhere))
    monkeypatch.setattr(measuring, "_LEAST_SECONDS", 0.02)


@pytest.fixture
def wall(tmp_path: Path) -> list[str]:
    """The options of a wall meter that shows 40 W."""
    (tmp_path / "watts").write_text("40\n")
    asked = ["--energy-from", str(tmp_path / "watts"), "--energy-interval", "0.001"]
    return [*asked, "--energy-repeats", "2"]


@pytest.fixture
def bench(network: Path) -> list[str]:
    options = ["--size", "16", "--repeats", "1", "--threads", "1", "--device", "cpu"]
    return ["bench", f"{network}:tiny", *options]


def test_bench_has_columns_of_energy(
    run: Run, as_json: Run, bench: list[str], wall: list[str]
) -> None:
    found = as_json(*bench, *wall)
    assert set(found) == {"unmodified", "unmodified, half resolution"}
    for value in found.values():
        assert len(value["energy"]["rails"]["total"]) == 2
        assert value["energy"]["setting"] == value["latency"]["setting"]
    shown = run(*bench, *wall, "--energy-unit", "mW").stdout
    for said in ("J/image", "of unmodified", "100% (100% to 100%)", "Energy: 2 runs of"):
        assert said in shown


def test_bench_without_a_sensor_says_so_and_gives_no_number(
    run: Run, as_json: Run, bench: list[str]
) -> None:
    result = run(*bench, "--energy")
    assert result.exit_code == 0
    assert "energy is not measured: No energy sensor for cpu" in result.stderr
    assert "J/image" not in result.stdout
    assert "energy" not in as_json(*bench, "--energy")["unmodified"]


def test_tune_has_energy_in_its_table_its_files_and_its_report(
    run: Run, untrained_options: list[str], wall: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    asked = [*untrained_options, "--sizes", "2", "--run-dir", folder, *wall]
    result = run(*asked)
    assert result.exit_code == 0, result.output
    for said in ("J/image", "of original", "Energy interleaved with the original's: 2 runs"):
        assert said in result.stdout
    point = json.loads((folder / "round-01" / "point.json").read_text())
    measured = json.loads((folder / "round-01" / "energy.json").read_text())
    assert point["energy"] == measured["kept"]
    assert point["energy_baseline"] == measured["unmodified"]
    assert 'id="energy"' in (folder / "report.html").read_text(encoding="utf-8")


def test_tune_without_a_sensor_says_so_and_goes_on(
    run: Run, untrained_options: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    asked = [*untrained_options, "--sizes", "2", "--run-dir", folder, "--energy"]
    result = run(*asked)
    assert result.exit_code == 0, result.output
    assert "round-00: energy is not measured: No energy sensor for cpu" in result.stderr
    assert "Energy is not measured: No energy sensor for cpu" in result.stdout
    assert "J/image" not in result.stdout
    assert "It is not measured" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--energy-from", "no-such-meter"], "no file and no command"),
        (["--energy-from", "rapl"], "RAPL: "),
        (["--energy-from", "echo on"], "expected a number of W"),
        (["--energy-from", "echo 1", "--energy-interval", "0"], "interval is 0"),
    ],
)
def test_a_meter_that_is_named_and_cannot_be_read_is_refused_at_once(
    refused: Run, bench: list[str], tune_options: list[str], tmp_path: Path,
    options: list[str], said: str,
) -> None:  # fmt: skip
    assert said in refused(*bench, *options)
    assert said in refused(*tune_options, "--run-dir", tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()
