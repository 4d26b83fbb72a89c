from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tasks.segmentation.conftest import write
from torch import nn

from virtualpool import Score, VirtualPoolError, apply
from virtualpool.cli.chance import Chance, chance_in, not_at_chance, of_classes
from virtualpool.cli.network import load_network
from virtualpool.search import Grouped
from virtualpool.tasks import segmentation

Run = Callable[..., Any]


def test_what_was_understood_is_said_and_a_dry_run_does_nothing(
    run: Run, as_json: Run, network: Path, images: Path, tmp_path: Path
) -> None:
    asked = ["tune", f"{network}:tiny", "--data", images, "--size", "16", "--device", "cpu"]
    asked += ["--run-dir", tmp_path / "run", "--workers", "0", "--dry-run"]
    result = run(*asked, "--points", "2", "--min-speedup", "2", "--budget", "90s")
    said = result.stderr
    assert f"network: {network}:tiny, Sequential, 0.00" in said
    assert "weights: none given: as the network is built" in said
    assert "size 16 (asked)" in said
    assert "mean and std are ImageNet's where not asked" in said
    assert "training and" in said
    assert "device:  cpu, " in said
    assert result.stdout == (
        "to do: find, recover and time at most 2 models with a speed-up of 2x or more"
        ", in 1.5 min, but one plan and one model however long they take\n"
    )
    found = as_json(*asked, "--points", "2")
    understood = found["understood"]
    assert understood.pop("to do") == "find, recover and time at most 2 models"
    assert [*understood] == ["network", "weights", "data", "images", "device"]
    for subject, what in understood.items():
        assert f"{subject + ':':<9}{what}\n" in said
    assert found["search"]["target"] == {"points": 2}
    assert found["settings"]["images"]["size"] == 16
    assert found["settings"]["recovery"] == "reconstruction,distillation"
    assert as_json(*asked, "--rounds", "3")["search"]["rounds"] == Grouped(count=3).to_json()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("right", "is_refused"), [(12, True), (60, False)])
def test_an_original_at_chance_is_refused(right: int, is_refused: bool) -> None:
    judge = not_at_chance(
        lambda _: Score.of((torch.arange(100) < right).float()), of_classes(10, 100)
    )
    original = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    pooled = apply(original, torch.rand(1, 3, 8, 8))
    assert judge(pooled) == pytest.approx(right / 100)  # it may have lost all it knew
    if is_refused:
        with pytest.raises(
            VirtualPoolError, match=r"12.0% on 100 images, and chance 10.0% \(accuracy\)"
        ):
            judge(original)
    else:
        assert judge(original) == pytest.approx(right / 100)


def test_few_images_and_plain_numbers_say_nothing_of_chance() -> None:
    original = nn.Conv2d(3, 4, 3)
    assert not_at_chance(lambda _: Score.of(torch.zeros(99)), of_classes(10, 99))(original) == 0
    assert not_at_chance(lambda _: 0.0, of_classes(10, 100))(original) == 0


@pytest.mark.parametrize(("score", "is_refused"), [(0.0, True), (0.41, True), (0.5, False)])
def test_a_segmentation_network_has_to_beat_one_class_everywhere(
    tmp_path: Path, score: float, is_refused: bool
) -> None:
    write(tmp_path, "test", 4)  # 12 x 10 bright pixels of 23 x 32
    (tmp_path / "testannot" / "3.png").write_bytes(b"broken")
    chance = chance_in(segmentation.load_data(tmp_path, classes=2, workers=0))
    assert chance.score == pytest.approx((1 - 120 / (23 * 32)) / 2)
    judge = not_at_chance(lambda _: Score.of(torch.full((10,), score)), chance)
    limited = not_at_chance(lambda _: Score.of(torch.full((9,), score)), chance)
    assert limited(nn.Identity()) == pytest.approx(score)
    if is_refused:
        with pytest.raises(VirtualPoolError, match=r"class everywhere 41\.8%"):
            judge(nn.Identity())
    else:
        assert judge(nn.Identity()) == pytest.approx(score)


def test_a_detector_that_finds_nothing_is_refused() -> None:
    chance = chance_in(None)
    assert chance == Chance(0.0, "a detector that finds nothing")
    with pytest.raises(VirtualPoolError, match=r"finds nothing 0\.0%"):
        not_at_chance(lambda _: Score.of(torch.zeros(10)), chance)(nn.Identity())


def test_weights_that_are_not_finite_are_refused_by_name(network: Path, tmp_path: Path) -> None:
    state = load_network(f"{network}:tiny").module.state_dict()
    state["3.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, tmp_path / "diverged.pt")
    with pytest.raises(VirtualPoolError, match=r"its 3\.weight holds nan or infinity"):
        load_network(f"{network}:tiny", str(tmp_path / "diverged.pt"))
