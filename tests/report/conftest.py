"""Run directories made by hand, as `virtualpool.search` writes them."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from virtualpool.files import write_json, write_text
from virtualpool.fuse import Interpolation, Report
from virtualpool.measure import Latency, Setting, Speedup
from virtualpool.plan import Plan, PooledSite
from virtualpool.search import Point, Score, Sensitivity, SiteSensitivity

SETTING = Setting("cpu", "Some <Processor>", "float32", 1, 2, "eager", True, "2.9.0")
SITES = [f"convs.{index}" for index in range(9)]
ROUNDS = [["convs.7", "convs.8"], ["convs.2", "convs.5"], ["convs.1", "convs.4"]]
ORIGINAL = 0.887

MakeRun = Callable[..., Path]


BASELINE = Latency((9.0, 9.1, 9.4), SETTING)


def took(speedup: float) -> Latency:
    """The latency of a model so many times faster than the original."""
    return Latency(tuple(ms / speedup for ms in BASELINE.samples_ms), SETTING)


def forms(fused: float, unfused: float, half: float = 3.9) -> dict[str, Latency]:
    """The latencies of a model in both of its forms, and of its limit, from their speed-ups."""
    return {"fused": took(fused), "unfused": took(unfused), "half_resolution": took(half)}


def point(name: str, drop: float, speedup: float, pooled: list[str], **values: Any) -> Point:
    return Point(
        name=name,
        accuracy=ORIGINAL - drop,
        standard_error=0.0101,
        latency=took(speedup),
        baseline=BASELINE,
        speedup=Speedup(speedup, speedup * 0.97, speedup * 1.02),
        macs=round(281e6 / (1 + len(pooled) / 3)),
        plan=Plan().extended(map(PooledSite, pooled)),
        weights=None if name == "original" else f"{name}/model.safetensors",
        metrics={"top1": ORIGINAL - drop, "top5": 0.992},
        drop=drop,
        drop_standard_error=0.0052,
        **values,
    )


POINTS = [
    point("original", 0.0, 1.0, [], half_resolution=took(3.8)),
    point("round-01", 0.003, 1.44, ROUNDS[0], **forms(fused=1.38, unfused=1.44)),
    point("round-02", 0.008, 2.31, ROUNDS[0] + ROUNDS[1], **forms(fused=2.31, unfused=1.7)),
    point(
        "round-03",
        0.024,
        2.87,
        ROUNDS[0] + ROUNDS[1] + ROUNDS[2],
        **forms(fused=2.87, unfused=1.9),
    ),
]
SMALLER = [
    replace(point(f"smaller-{side:g}", drop, speedup, []), plan=Plan(image_scale=side))
    for side, drop, speedup in ((0.75, 0.004, 1.7), (0.625, 0.012, 2.4), (0.5, 0.05, 3.7))
]
FUSING = [
    Report(tuple(ROUNDS[0])),
    Report(tuple(ROUNDS[0] + ROUNDS[1])),
    Report(("convs.1",), (Interpolation(("convs.7", "convs.8"), ("view in <head>", "output")),)),
]


def _sensitivity() -> Sensitivity:
    score = Score(ORIGINAL, standard_error=0.0101, samples=1000)
    found = Sensitivity(score, (), "each site pooled alone, without fine-tuning")
    for index, name in enumerate(SITES):
        drop = 0.2 / (1 + index) - 0.03
        site = SiteSensitivity(name, Score(ORIGINAL - drop), drop, 0.006, index in (2, 5), 1000)
        found = found.including(site)
    return found


def _training(round_index: int) -> list[dict[str, float]]:
    lost = 0.06 * round_index
    accuracies = [
        {
            "step": step,
            "epoch": step / 50,
            "accuracy": ORIGINAL - 0.01 - lost * math.exp(-step / 60),
        }
        for step in range(0, 201, 50)
    ]
    losses = [
        {"step": step, "epoch": step / 50, "loss": 0.3 + lost * math.exp(-step / 60)}
        for step in range(10, 201, 10)
    ]
    return sorted(accuracies + losses, key=lambda record: record["step"])


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Makes a run of which some of three rounds are done; `without` names files to leave out.

    With `smaller` it was asked to compare, and some of three sizes are done.
    """

    def make(
        *,
        rounds: int = 3,
        smaller: int | None = None,
        without: tuple[str, ...] = (),
        **config: Any,
    ) -> Path:
        run = tmp_path / "run"
        asked = {
            "model": "AllCNNC",
            "learning_rates": [0.01, 0.01, 0.005],
            "epochs": [5.0, 5.0, 10.0],
            "max_drop": None,
            "seed": 7,
            "compare": None if smaller is None else "smaller-images",
            "sites": SITES,
            "settings": {"model": "virtualpool:all_cnn_c", "data": "sample:cifar10"},
        }
        files: dict[str, Any] = {
            "config.json": asked | config,
            "environment.json": {
                "machine": "Linux",
                "processor": "Some <Processor>",
                "cores": 2,
                "gpu": None,
                "torch": "2.9.0",
                "command": ["/usr/bin/virtualpool", "tune", "model.py:my net", "--run-dir", "run"],
                "seed": 7,
                "started": "2026-11-25T10:00:00+0000",
            },
            "sensitivity.json": _sensitivity().to_json(),
            "rounds.json": ROUNDS,
        }
        for index in range(rounds + 1):
            files[f"round-{index:02d}/point.json"] = POINTS[index].to_json()
        for done in SMALLER[: smaller or 0]:
            files[f"{done.name}/missing.json"] = None
            files[f"{done.name}/point.json"] = done.to_json()
        for name, value in files.items():
            if name not in without:
                write_json(run / name, value)
        for index in range(1, rounds + 1):
            write_json(run / f"round-{index:02d}" / "fusing.json", FUSING[index - 1].to_json())
            lines = [json.dumps(record) for record in _training(index)]
            write_text(run / f"round-{index:02d}" / "training.jsonl", "\n".join(lines) + "\n")
        return run

    return make


@pytest.fixture
def make_forms() -> Callable[..., dict[str, Latency]]:
    """Makes the latencies of a model's forms from their speed-ups."""
    return forms


@pytest.fixture
def make_point() -> Callable[..., Point]:
    """Makes a model of a frontier from its name, drop, speed-up and pooled sites."""
    return point
