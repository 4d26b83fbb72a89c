import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.search.interruptions import Interruptions
from tests.search.meter import Meter
from torch import Tensor, nn

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.measure import Latency, Setting
from virtualpool.measure.latency import Timed
from virtualpool.plan import Plan
from virtualpool.search import (
    Frontier,
    Round,
    by_distillation,
    by_labels,
    by_recalibration,
    read_records,
    search,
    smaller,
)
from virtualpool.search.run import forms, models

SETTING = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")
NAMES = ["smaller-0.75", "smaller-0.625", "smaller-0.5"]
SIZES = [9, 8, 6]  # of 12


@pytest.fixture
def quick(monkeypatch):
    """A clock that needs no time: a model takes a millisecond for each row of its images, with
    one site pooled two thirds of that, with two a half.
    """

    def milliseconds(model: Timed, inputs: Tensor) -> float:
        model, inputs = model if isinstance(model, tuple) else (model, inputs)
        return inputs.shape[2] / (1 + len(vp.plan_of(model).sites) / 2)

    def latency(timed: dict[str, Timed], inputs: Tensor, **_: object):
        times = {name: milliseconds(model, inputs) for name, model in timed.items()}
        return {name: Latency((ms, ms * 1.1), SETTING) for name, ms in times.items()}

    for module in (forms, models, smaller):
        monkeypatch.setattr(module, "latency", latency)


def sizes_of(model: nn.Module, images: Tensor) -> list[int]:
    """The number of rows of images that a model sees: a hook is called after the older ones."""
    seen = []
    handle = model.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2]))
    with torch.no_grad():
        model(images)
    handle.remove()
    return seen


@pytest.fixture
def start(network, images, tmp_path):
    """Starts a search that compares, in one run directory; options can be changed."""

    def evaluate(model: nn.Module) -> float:
        """A hundredth of the rows that the model sees, so the original has 0.12."""
        return sizes_of(model, images)[0] / 100

    def start(**options) -> Frontier:
        defaults = {
            "evaluate": evaluate,
            "run_dir": tmp_path / "run",
            "latency": {"repeats": 1, "threads": 1},
            "rounds": [["2"], ["5"]],
            "compare": "smaller-images",
        }
        return search(network, images[:1], **defaults | options)

    return start


def names(frontier: Frontier) -> list[str]:
    return [point.name for point in frontier.smaller]


@pytest.mark.usefixtures("quick")
def test_the_unmodified_model_is_compared_on_smaller_images(start, network, images, tmp_path):
    frontier = start()
    assert names(frontier) == NAMES
    assert frontier.missing == {}
    for point, rows in zip(frontier.smaller, SIZES, strict=True):
        assert (point.accuracy, point.drop) == (rows / 100, pytest.approx(0.12 - rows / 100))
        assert point.plan == Plan(image_scale=float(point.name.partition("-")[2]))
        assert point.speedup.median == pytest.approx(12 / rows)
        assert point.macs == vp.measure.macs(network, images[:1, :, :rows, :rows])
        assert point.weights == f"{point.name}/model.safetensors"
        log = (tmp_path / "run" / "log.txt").read_text()
        assert f"{point.name}: {rows / 100:.4f}, " in log
        assert f"images at scale {point.plan.image_scale}\n" in log
    assert [point.name for point in frontier.points] == ["original", "round-01", "round-02"]
    assert frontier.pick(max_drop=1).name == "round-02"
    assert Frontier.load(tmp_path / "run" / "frontier.json") == frontier
    # By this score pooled models lose nothing. With two sites one is as fast as half resolution.
    assert frontier.lead == ((2.0, pytest.approx(0.06)),)


def test_it_is_timed_on_images_that_are_smaller_already(start, network, monkeypatch):
    timed = []
    measured = smaller.latency

    def noted(given: dict[str, Any], inputs: Tensor, **options):
        model, small = given["smaller"]
        assert sizes_of(model, torch.zeros(1, 3, 12, 12)) == [12]  # it resizes nothing by itself
        timed.append((tuple(inputs.shape), tuple(small.shape), options))
        return measured(given, inputs, **options)

    monkeypatch.setattr(smaller, "latency", noted)
    frontier = start(rounds=[["2"]])
    options = {"repeats": 1, "threads": 1}
    assert timed == [((1, 3, 12, 12), (1, 3, rows, rows), options) for rows in SIZES]
    for point in frontier.smaller:
        assert point.speedup == point.latency.speedup_over(point.baseline)
        assert point.latency.setting == frontier.original.latency.setting


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("length", ["epochs", "training_steps"])
def test_it_is_fine_tuned_as_the_rounds_and_for_as_long(start, network, images, length):
    told = []

    def finetune(model: nn.Module, current: Round) -> None:
        assert model.training
        (rows,) = sizes_of(model, images)
        told.append(
            (
                rows, current.index, getattr(current, length), current.learning_rate,
                float(torch.rand(1)),
            )
        )  # fmt: skip
        assert float(current.evaluate(model)) == rows / 100
        model.get_parameter("0.bias").data += 1

    frontier = start(finetune=finetune, learning_rates=[0.1, 0.01], **{length: [3, 5]})
    rounds, rest = told[:2], told[2:]
    assert rest == [(rows, *asked) for rows in SIZES for _, *asked in rounds]
    assert [asked[1:4] for asked in rounds] == [(1, 3, 0.1), (2, 5, 0.01)]
    for point in frontier.smaller:
        loaded = vp.load(network, frontier.directory / point.weights)
        torch.testing.assert_close(loaded.get_parameter("0.bias"), network[0].bias + 2)


@pytest.mark.usefixtures("quick")
def test_rounds_that_were_not_made_count_for_nothing(start):
    indices = []

    def finetune(model: nn.Module, current: Round) -> None:
        indices.append(current.index)

    frontier = start(rounds=[["2"], ["5"], ["0"]], max_drop=-1, finetune=finetune)
    assert len(frontier.points) == 2
    assert indices == [1] * (1 + len(NAMES))


@pytest.mark.usefixtures("quick")
def test_the_restored_model_is_the_one_that_was_judged(start, network, images):
    frontier = start(finetune=lambda model, _: model[0].weight.data.mul_(2))
    for point, rows in zip(frontier.smaller, SIZES, strict=True):
        restored = frontier.restore(network, point)
        assert sizes_of(restored, images) == [rows]
        loaded = vp.load(network, frontier.directory / point.weights)
        assert torch.equal(restored(images), loaded(images))
        one, other = (each.get_parameter("0.weight") for each in (loaded, network))
        assert torch.equal(one, 4 * other)


@pytest.mark.usefixtures("quick")
def test_what_is_needed_no_more_is_removed(start, tmp_path):
    def finetune(model: nn.Module, current: Round) -> None:
        current.checkpoint.mkdir(parents=True)
        current.log(step=1, loss=0.5)

    start(finetune=finetune)
    folder = tmp_path / "run" / "smaller-0.75"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "missing.json", "model.safetensors", "point.json", "score.json", "times.json",
        "round-01/training.jsonl", "round-02/training.jsonl",
    }  # fmt: skip
    assert read_records(folder / "round-02" / "training.jsonl") == [{"step": 1, "loss": 0.5}]


STOPS = ["finetune 3", "finetune 6", "evaluate 6"]


@pytest.mark.usefixtures("quick")
def test_goes_on_after_ctrl_c(start, network, images, tmp_path):
    happened = Interruptions()

    def evaluate(model: nn.Module) -> float:
        happened.count("evaluate")
        return float(model(images).mean().detach())

    def finetune(model: nn.Module, current: Round) -> None:
        model.get_parameter("0.bias").data += torch.rand(4)
        happened.count("finetune")

    options = {"evaluate": evaluate, "finetune": finetune}
    whole = start(**options, run_dir=tmp_path / "whole")
    for stop in STOPS:
        happened.begin(stop)
        run = tmp_path / stop
        with pytest.raises(KeyboardInterrupt):
            start(**options, run_dir=run)
        again = start(**options, run_dir=run)
        # Nothing but the interrupted work was done twice.
        assert happened.calls.total() == 1 + (3 + 3) + 2 * (1 + 3), stop
        assert [it.accuracy for it in again.smaller] == [it.accuracy for it in whole.smaller], stop
        for point in again.smaller:
            one, other = ((each.directory / point.weights).read_bytes() for each in (again, whole))
            assert one == other, stop


ONLY_LARGE = nn.Sequential(
    nn.Conv2d(3, 3, 7), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
)  # fmt: skip


def of_one_size() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(108, 2)
    )


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("model", "there", "said"),
    [
        (ONLY_LARGE, NAMES[:2], r"Kernel size can't be greater"),
        (of_one_size(), [], r"Sequential does not run on .*\(1, 3, [986], [986]\)"),
    ],
)
def test_what_the_model_does_not_take_is_said_and_the_rest_is_made(
    images, tmp_path, model, there, said
):
    def start() -> Frontier:
        return search(
            model, images[:1], evaluate=lambda _: 0.5, rounds=[["0"]], run_dir=tmp_path,
            compare="smaller-images",
        )  # fmt: skip

    frontier = start()
    assert names(frontier) == there
    assert list(frontier.missing) == NAMES[len(there) :]
    assert all(re.search(said, reason) for reason in frontier.missing.values())
    assert start() == frontier  # which knows it, and says it once
    assert Frontier.load(tmp_path / "frontier.json").missing == frontier.missing
    log = (tmp_path / "log.txt").read_text()
    assert log.count("smaller-0.5 is not compared: Sequential does not run") == 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("is_there", [True, False])
def test_energy_is_measured_where_it_is_asked_for(start, is_there):
    meter = Meter()
    meter.is_there = is_there
    energy = {"meter": meter, "repeats": 1, "duration_s": 0.002}
    for point in start(rounds=[["2"]], energy=energy).smaller:
        assert (point.energy is not None) == (point.energy_share is not None) == is_there
        assert point.missing == ({} if is_there else {"energy": "The meter is gone."})


@pytest.mark.usefixtures("quick")
def test_ready_made_recoveries_take_the_model_as_it_is(start, network, images, tmp_path):
    batches = [(images[:12], torch.arange(12) % 4), (images[12:], torch.arange(12) % 4)]
    network.insert(1, nn.BatchNorm2d(4))
    for recovery in (
        by_labels(batches, log_steps=1),
        by_distillation(network, batches, log_steps=1),
        by_distillation(network, batches, sites=0, log_steps=1),
        by_recalibration(batches),
    ):
        run_dir = tmp_path / str(id(recovery))
        frontier = start(rounds=[["3"], ["6"]], finetune=recovery, epochs=2, run_dir=run_dir)
        for point in frontier.smaller:
            tuned = vp.load(network, run_dir / point.weights)
            changed = {
                name
                for name, value in tuned.state_dict().items()
                if not torch.equal(value, network.state_dict()[name])
            }
            assert "1.running_mean" in changed
            if recovery.__qualname__.startswith("by_recalibration"):
                continue
            assert "0.weight" in changed
            for index in (1, 2):
                steps = [
                    record["step"]
                    for folder in (run_dir, run_dir / point.name)
                    for record in read_records(folder / f"round-{index:02d}" / "training.jsonl")
                    if "loss" in record
                ]
                assert steps == [1, 2, 3, 4] * 2


@pytest.mark.usefixtures("quick")
def test_another_comparison_is_another_run(start, tmp_path):
    start()
    with pytest.raises(VirtualPoolError, match='made with compare "smaller-images", now null'):
        start(compare=None)
    with pytest.raises(VirtualPoolError, match='made with compare null, now "smaller-images"'):
        for compare in (None, "smaller-images"):
            start(compare=compare, run_dir=tmp_path / "other")


@pytest.mark.usefixtures("quick")
def test_a_run_from_before_there_was_a_comparison_goes_on(start, tmp_path):
    start(compare=None)
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    del config["compare"]
    path.write_text(json.dumps(config))
    assert start(compare=None).smaller == ()


@pytest.mark.usefixtures("quick")
def test_the_observer_is_told(start, images):
    told = []
    batches = [(images, torch.zeros(len(images), dtype=torch.int64))]
    start(
        rounds=[["2"]],
        finetune=by_labels(batches, epochs=1),
        observer=lambda *event: told.append(event),
    )
    assert [event for event in told if event[0] == "smaller images"] == [
        ("smaller images", 0, 3, "smaller-0.75"),
        ("smaller images", 1, 3, "smaller-0.625"),
        ("smaller images", 2, 3, "smaller-0.5"),
        ("smaller images", 3, 3, "done"),
    ]
    stages = [stage for stage, *_, message in told if message.startswith("loss")]
    assert stages == ["round-01", *(f"{name} round-01" for name in NAMES)]


@pytest.mark.parametrize(
    ("inputs", "compare", "said"),
    [
        (None, "half", "compare is 'half'; there is: smaller-images"),
        (["an image"], "smaller-images", "Sequential cannot be compared on smaller images"),
    ],
)
def test_refusals_come_before_any_work(network, images, tmp_path, inputs, compare, said):
    def evaluate(_: nn.Module) -> float:
        pytest.fail("evaluated")

    inputs = [images[0] for _ in inputs] if inputs else images[:1]
    with pytest.raises(VirtualPoolError, match=said):
        search(network, inputs, evaluate=evaluate, run_dir=tmp_path / "run", compare=compare)
    assert not Path(tmp_path / "run").exists()
