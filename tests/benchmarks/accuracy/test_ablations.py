"""`benchmarks.accuracy.ablations` from the images to the tables, on ten images and a few steps."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import virtualpool as vp
from benchmarks.accuracy.ablation import pruning, runner, speeds
from virtualpool.errors import VirtualPoolError
from virtualpool.files import read_json
from virtualpool.measure import Latency, Setting
from virtualpool.models import AllCNNC
from virtualpool.search import Run, read_records

Ablations = Callable[..., str]
SETTING = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")


@pytest.fixture
def ablations(program: Callable[..., None], cifar: Path, tmp_path: Path) -> Ablations:
    """Runs the program in one directory; gives its tables."""

    def run(*arguments: object) -> str:
        quick = "--epochs 1 --mode eager --batch 1 --threads 1 --duration-s 0.001".split()
        tables = tmp_path / "tables.md"
        program(
            "accuracy.ablations", "--run-dir", tmp_path / "run", "--data", cifar, *quick,
            "--markdown", tables, *arguments,
        )  # fmt: skip
        return tables.read_text()

    return run


def cells(tables: str, variant: str) -> list[str]:
    (row,) = {line for line in tables.splitlines() if line.startswith(f"| {variant} |")}
    return [cell.strip() for cell in row.strip("| ").split("|")]


def test_tables_of_two_ablations(ablations: Ablations, tmp_path: Path) -> None:
    asked = ("--ablations", "activation", "interpolation", "--seeds", 0, 1)
    tables = ablations(*asked)
    titles = [line for line in tables.splitlines() if line.startswith("## ")]
    assert len(titles) == 2
    _, accuracy, unfused, fused, macs = cells(tables, "all sites pooled")
    assert " ± " in accuracy
    assert unfused.endswith("x")
    assert fused.endswith("x")
    assert macs == "70.3"
    assert cells(tables, "nearest neighbour")[3:] == ["–", "70.3"]
    assert " % at 281.2 MMACs." in tables
    results = sorted((tmp_path / "run").glob("trainings/*/seed-*/result.json"))
    assert len(results) == 4 * 2
    assert not list((tmp_path / "run").rglob("checkpoint"))

    # Results that are there are taken, not made again.
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(runner, "_trained")
        patch.delattr(speeds, "latency")
        assert ablations(*asked) == tables


def test_killed_in_its_second_round_it_goes_on(ablations: Ablations, tmp_path: Path) -> None:
    asked = ("--ablations", "rounds", "--seeds", 0)
    recovery, folder = runner.recovery, tmp_path / "run" / "trainings" / "3-rounds" / "seed-0"

    def killed(*arguments: Any) -> Any:
        finetune = recovery(*arguments)

        def until_the_second(model: nn.Module, current: Any) -> None:
            if current.index == 2:
                raise KeyboardInterrupt
            finetune(model, current)

        return until_the_second

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "recovery", killed)
        with pytest.raises(KeyboardInterrupt):
            ablations(*asked)
    first = folder / "round-01" / "training.jsonl"
    before = first.read_bytes(), read_records(first)
    assert before[1]
    tables = ablations(*asked)
    assert first.read_bytes() == before[0]
    assert len(read_json(folder / "result.json")["stages"]) == 3
    assert cells(tables, "3 rounds, 3")[-1] == "70.3"


def test_other_settings_are_refused(ablations: Ablations) -> None:
    asked = ("--ablations", "activation", "--seeds", 0)
    ablations(*asked)
    with pytest.raises(VirtualPoolError, match=r"made with images null, now 5"):
        ablations(*asked, "--images", 5)


def test_one_that_diverges_is_said_so(ablations: Ablations) -> None:
    def diverging(model: nn.Module, current: Any) -> None:
        raise VirtualPoolError("the loss is nan")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "recovery", lambda *_: diverging)
        tables = ablations("--ablations", "activation", "--seeds", 0)
    assert "- all sites pooled, seed 0, failed: the loss is nan" in tables
    assert "| all sites pooled |" not in tables


def test_frontiers_are_drawn(ablations: Ablations, tmp_path: Path) -> None:
    ablations("--ablations", "smaller-images", "--seeds", 0, "--images", 5, "--test-images", 5)
    picture = (tmp_path / "run" / "frontiers.svg").read_text()
    assert picture.startswith("<?xml")


def test_the_pruned_network_that_is_nearest_in_speed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    milliseconds = {"some": 6.0, "all": 3.0, "part-0.2.pt": 2.0, "part-0.5.pt": 4.0}
    network, images = AllCNNC().eval(), torch.randn(1, 3, 32, 32)

    def latency(models: dict[str, Any], *_: Any, **__: Any) -> dict[str, Latency]:
        assert models.keys() == milliseconds.keys()
        return {name: Latency((it,), SETTING) for name, it in milliseconds.items()}

    def pruned(_: Any, folder: Path, __: Any) -> list[Path]:
        folder.mkdir(parents=True)
        files = [folder / name for name in ("part-0.2.pt", "part-0.5.pt")]
        for file in files:
            torch.save({"name": file.name}, file)
        return files

    monkeypatch.setattr(pruning, "latency", latency)
    monkeypatch.setattr(pruning, "pruned", pruned)
    pool = {
        "some": partial(vp.apply, sites=["convs.1"], example_inputs=images),
        "all": partial(vp.apply, example_inputs=images),
    }
    run = Run(tmp_path)
    setup: Any = SimpleNamespace(
        run=run, directory=run.directory, network=network, images=images, latency={}
    )
    changes = pruning.pruned_as_fast_as(pool, setup)
    assert changes["some"](network) == {"name": "part-0.5.pt"}
    assert changes["all"](network) == {
        "name": "part-0.5.pt"
    }  # a quarter slower, not a third faster
