"""`virtualpool export`, and `tune --export`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import virtualpool
from virtualpool.cli.network import load_network
from virtualpool.export import timing
from virtualpool.search import Frontier, Point

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_REPEATS", 1)


@pytest.fixture
def saved(network: Path, tmp_path: Path) -> Path:
    tiny = load_network(f"{network}:tiny").module
    images = torch.rand(2, 3, 16, 16)
    path = tmp_path / "fast.safetensors"
    virtualpool.save(virtualpool.fuse(virtualpool.apply(tiny, images, ["0"]), images), path)
    return path


def test_a_saved_network_with_the_inputs_of_its_pooling(
    run: Run, network: Path, saved: Path, tmp_path: Path
) -> None:
    path = tmp_path / "net.pt2"
    result = run("export", f"{network}:tiny", saved, "--output", path)
    assert result.exit_code == 0, result.output
    assert "1 site pooled, 1 of them fused" in result.stdout
    assert "on 2 inputs (2x3x16x16)" in result.stdout
    assert "Latency: " in result.stdout
    assert (tmp_path / "net.pt2.card.json").is_file()


def test_the_original_is_timed_with_its_own_weights(
    refused: Run, network: Path, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {
        name: value + 1
        for name, value in load_network(f"{network}:tiny").module.state_dict().items()
    }
    torch.save(own, tmp_path / "own.pt")

    def export(model: nn.Module, *_: Any, original: nn.Module, **__: Any) -> None:
        same = [torch.equal(net.state_dict()["0.bias"], own["0.bias"]) for net in (model, original)]
        raise virtualpool.VirtualPoolError(f"seen {same}")

    monkeypatch.setattr(virtualpool, "export", export)
    asked = ["export", f"{network}:tiny", saved, "--output", tmp_path / "net.pt2"]
    assert "seen [False, True]" in refused(*asked, "--weights", tmp_path / "own.pt")


def test_json_and_int8_with_the_images_of_a_folder(
    as_json: Run, network: Path, images: Path, saved: Path, tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    asked = ["export", f"{network}:tiny", saved, "--output", path, "--no-latency", "--size", "16"]
    found = as_json(*asked, "--int8", images, "--images-count", "12", "--threads", "1")
    assert found == json.loads((tmp_path / "net.onnx.card.json").read_text())
    assert (found["precision"], found["latency"]) == ("int8", None)
    assert found["agreement"]["samples"] == 3
    assert found["machine"]["threads"] == 1


def test_what_is_refused(refused: Run, network: Path, saved: Path, tmp_path: Path) -> None:
    asked = ["export", f"{network}:tiny", saved, "--output"]
    assert "no format has files that end in '.bin'" in refused(*asked, tmp_path / "net.bin")
    gone = ["export", f"{network}:tiny", tmp_path / "gone", "--output", tmp_path / "net.pt2"]
    assert "there is no such file" in refused(*gone)
    oblong = [*asked, tmp_path / "net.onnx", "--input-shape", "1,3,16,20", "--int8", tmp_path]
    assert "--int8 calibrates with square images" in refused(*oblong)
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize("place", [0, 1])
def test_tune_exports_the_network_that_pick_gives(
    place: int,
    run: Run,
    refused: Run,
    tune_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []

    def pick(self: Frontier, *, max_drop: float) -> Point:
        asked.append(max_drop)
        return self.points[place]

    monkeypatch.setattr(Frontier, "pick", pick)
    folder = tmp_path / "run"
    tune = [*tune_options, "--run-dir", folder, "--sizes", "1", "--recover", "distillation"]
    result = run(*tune, "--export", "pt2")
    assert result.exit_code == 0, result.output
    assert asked == [0.01]
    if place == 0:
        assert (
            "Nothing is exported: within a drop of 0.01 the original is the fastest"
            in result.stderr
        )
        assert not (folder / "export").exists()
        said = refused(*tune, "--export", "pt2,onyx")
        assert "--export onyx: there is no such format" in said
        return
    made = folder / "export" / "round-01-pt2.pt2"
    card = json.loads((folder / "export" / f"{made.name}.card.json").read_text())
    assert card["score"].keys() == {"name", "score", "drop"}
    assert len(card["model"]["plan"]["sites"]) == 1
    assert f"{made}: pt2, float32" in result.stdout
