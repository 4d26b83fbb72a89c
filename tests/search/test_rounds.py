import json
import logging
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.search.interruptions import Interruptions
from torch import Tensor, nn

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.documents import read_document
from virtualpool.fuse import Interpolation, Report, report_of
from virtualpool.measure import Latency, Setting
from virtualpool.measure.latency import LatencyOptions, Timed
from virtualpool.records import read_records
from virtualpool.search import (
    ByTimeSaved,
    Frontier,
    Grouped,
    Round,
    Score,
    Sensitivity,
    by_labels,
    search,
)
from virtualpool.search import sensitivity as find_sensitivity
from virtualpool.search.run import forms, models

COSTS = {"0": 0.3, "2": 0.1, "5": 0.2}
LATENCY: LatencyOptions = {"repeats": 1, "threads": 1}


def evaluate(model: nn.Module) -> float:
    """As if each pooled site cost a fixed part of the accuracy: the order is 2, 5, 0."""
    return round(0.9 - sum(COSTS[name] for name in vp.plan_of(model).names), 6)


def finetune(model: nn.Module, current: Round) -> None:
    """Adds a random number and leaves a record."""
    with torch.no_grad():
        model.get_parameter("0.bias").add_(torch.rand(4))
    current.log(step=1, loss=0.5)


@pytest.fixture
def quick(monkeypatch):
    """A clock that needs no time: the original takes 8 ms, at half resolution 2, and a pooled model
    less by its sites; unfused, it loses a half of that.
    """
    saved = {"0": 1.0, "2": 1.5, "5": 2.5, "convolution": 1.0}
    setting = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")

    def milliseconds(model: Timed) -> float:
        if isinstance(model, tuple):
            return 2
        sites = sum(saved[site] for site in vp.plan_of(model).names)
        return 8 - (sites if report_of(model) else sites / 2)

    def latency(timed: dict[str, Timed], inputs: Tensor, **_: object):
        times = {name: milliseconds(model) for name, model in timed.items()}
        return {name: Latency((ms, ms * 1.1), setting) for name, ms in times.items()}

    for module in (forms, models):
        monkeypatch.setattr(module, "latency", latency)


@pytest.fixture
def start(network, images, tmp_path):
    """Starts a search of the small network in one run directory; options can be changed."""

    def start(**options) -> Frontier:
        defaults = {"evaluate": evaluate, "run_dir": tmp_path / "run", "latency": LATENCY}
        return search(network, images[:1], **defaults | options)

    return start


def _biases(network: nn.Module, frontier: Frontier) -> list[Tensor]:
    return [
        frontier.restore(network, point).get_parameter("0.bias").detach()
        for point in frontier.points
    ]


def test_each_round_pools_more_from_the_robust_end(start, tmp_path, images, network):
    frontier = start(rounds=3, finetune=finetune)
    assert [point.name for point in frontier.points] == [
        "original", "round-01", "round-02", "round-03",
    ]  # fmt: skip
    assert [point.plan.names for point in frontier.points] == [
        [], ["2"], ["2", "5"], ["2", "5", "0"],
    ]  # fmt: skip
    assert [point.accuracy for point in frontier.points] == [0.9, 0.8, 0.6, 0.3]
    assert [point.drop for point in frontier.points] == [0.0, 0.1, 0.3, 0.6]
    macs = [point.macs for point in frontier.points]
    assert macs == sorted(macs, reverse=True)
    for point in frontier.points[1:]:
        assert len(point.latency.samples_ms) == len(point.baseline.samples_ms) == 1
        assert point.speedup == point.latency.speedup_over(point.baseline)
        restored = frontier.restore(network, point)
        assert vp.measure.macs(restored, images) == point.macs
        assert (report_of(restored) is not None) == point.is_fused
        for measured in (point.unfused, point.fused, point.half_resolution):
            assert len(measured.samples_ms) == 1
    assert frontier.points[0].speedup.median == 1
    assert frontier.half_resolution == frontier.points[3].speedup_of(
        frontier.points[3].half_resolution
    )

    run = tmp_path / "run"
    assert Frontier.load(run / "frontier.json") == frontier
    assert read_document(run / "rounds.json") == [["2"], ["5"], ["0"]]
    assert read_document(run / "sensitivity.json", Sensitivity.from_json).names == [
        "2", "5", "0",
    ]  # fmt: skip
    assert read_records(run / "round-02" / "training.jsonl") == [{"step": 1, "loss": 0.5}]
    assert (run / "round-02" / "plan.json").exists()
    assert "round-03: 0.3000" in (run / "log.txt").read_text()


@pytest.mark.usefixtures("quick")
def test_the_frontier_is_that_of_fused_models_beside_what_they_are_judged_by(
    start, network, images, tmp_path
):
    original, first, second = start(rounds=[["2", "5"], ["0"]]).points
    assert (original.unfused, original.fused, original.is_fused) == (None, None, False)
    assert original.half_resolution.median_ms == pytest.approx(2.1)
    assert [
        p.median_ms for p in (first.fused, first.unfused, first.half_resolution)
    ] == pytest.approx([4.2, 6.3, 2.1])
    assert (first.latency, first.speedup.median) == (first.fused, 2)
    assert first.speedup_of(first.unfused).median == pytest.approx(8 / 6)
    assert str(first).endswith("2 pooled, fused (unfused 1.33x, half resolution 4.00x)")
    assert [point.is_fused for point in (first, second)] == [True, True]

    run = tmp_path / "run"
    for folder in ("round-01", "round-02"):
        loaded = vp.load(network, run / folder / "model.safetensors")
        kept = read_document(run / folder / "fusing.json", Report.from_json)
        assert report_of(loaded) == kept
    assert "round-01: 2 sites fused; 0 maps are still interpolated" in (run / "log.txt").read_text()


@pytest.mark.usefixtures("quick")
def test_what_could_not_be_fused_is_said(start, tmp_path, network):
    del network[7:]  # the last site's map is then an output
    start(rounds=[["2", "5"]])
    kept = read_document(tmp_path / "run/round-01/fusing.json", Report.from_json)
    assert (kept.fused, kept.interpolations) == (("2",), (Interpolation(("5",), ("output",)),))
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "round-01: 1 site fused; 1 map is still interpolated" in log
    assert "round-01: 5: output needs it in full" in log


@pytest.mark.usefixtures("quick")
def test_a_model_that_cannot_be_fused_is_kept_unfused(start, tmp_path, network, monkeypatch):
    def fails(*_: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(forms, "fuse", fails)
    frontier = start(rounds=ByTimeSaved(sizes=(2,)))
    (_, point) = frontier.points
    reason = "the model is as it was: ZeroDivisionError: a mistake of ours"
    assert (point.fused, point.missing, point.is_fused) == (None, {"fused": reason}, False)
    assert point.latency == point.unfused
    assert str(point).endswith("2 pooled, unfused (half resolution 4.00x)")
    assert report_of(frontier.restore(network, point)) is None
    log = (tmp_path / "run" / "log.txt").read_text()
    assert f"round-01: fused is not timed: {reason}" in log
    assert f"5 alone is timed unfused: {reason}" in log


@pytest.mark.usefixtures("quick")
def test_a_model_that_is_slower_fused_is_kept_unfused(start, tmp_path, network, monkeypatch):
    measured = forms.latency

    def slower_fused(timed: dict[str, Timed], inputs: Tensor, **options: Any):
        times = measured(timed, inputs, **options)
        if "fused" in times:
            written = times["unfused"]
            slower = tuple(ms * 1.25 for ms in written.samples_ms)
            times["fused"] = Latency(slower, written.setting)
        return times

    monkeypatch.setattr(forms, "latency", slower_fused)
    frontier = start(rounds=[["2"], ["5"]])
    for point in frontier.points[1:]:
        assert point.latency == point.unfused
        assert point.fused is not None
        assert not point.is_fused
        assert not point.missing
        assert report_of(frontier.restore(network, point)) is None
    assert "1 pooled, unfused (fused 0.88x," in str(frontier.points[1])
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "round-01: kept unfused, for fused it is slower: 0.80x (0.80 to 0.80) of" in log


@pytest.mark.usefixtures("quick")
def test_a_network_of_one_size_has_no_half(start, tmp_path, network):
    network[7] = nn.Identity()
    network[9] = nn.Linear(6 * 36, 4)
    frontier = start(rounds=[["2"]])
    assert [point.half_resolution for point in frontier.points] == [None, None]
    assert "(1, 3, 6, 6)" in frontier.points[1].missing["half_resolution"]
    assert frontier.half_resolution is None
    assert (
        "round-00: half resolution is not timed: Sequential does not run on"
        in (tmp_path / "run" / "log.txt").read_text()
    )


@pytest.mark.usefixtures("quick")
def test_each_round_goes_on_from_the_last_ones_weights(start, network):
    before = network[0].bias.clone()

    def add_one(model: nn.Module, current: Round) -> None:
        model.get_parameter("0.bias").data += 1

    frontier = start(rounds=2, finetune=add_one)
    for index, bias in enumerate(_biases(network, frontier)):
        torch.testing.assert_close(bias, before + index)
    assert torch.equal(network[0].bias, before)


@pytest.mark.usefixtures("quick")
def test_what_finetune_is_told(start, network):
    told = []

    def noted(model: nn.Sequential, current: Round) -> None:
        model[1].eval()
        scores = current.evaluate(model)
        told.append(
            (
                current.index, current.name, current.added, current.plan.names,
                current.learning_rate, current.epochs, current.training_steps,
                scores, model.training, model[1].training,
            )
        )  # fmt: skip
        current.checkpoint.mkdir()

    start(rounds=[["5", "2"], ["0"]], finetune=noted, learning_rates=[0.1, 0.01], epochs=2)
    assert told == [
        (1, "round-01", ("5", "2"), ["5", "2"], 0.1, 2, None, 0.6, True, False),
        (2, "round-02", ("0",), ["5", "2", "0"], 0.01, 2, None, 0.3, True, False),
    ]


@pytest.mark.usefixtures("quick")
def test_finetune_is_told_a_length_in_steps(start):
    told = []
    start(
        rounds=[["5"], ["0"]],
        finetune=lambda _, current: told.append((current.epochs, current.training_steps)),
        training_steps=[40, 50],
    )
    assert told == [(None, 40), (None, 50)]


@pytest.mark.usefixtures("quick")
def test_a_tuned_rounds_checkpoint_is_removed(start, tmp_path):
    start(rounds=1, finetune=lambda _, current: (current.checkpoint / "deep").mkdir(parents=True))
    assert not (tmp_path / "run" / "round-01" / "checkpoint").exists()


@pytest.mark.usefixtures("quick")
def test_without_fine_tuning_only_the_plan_changes(start, network):
    frontier = start(rounds=1)
    for name, tensor in frontier.restore(network, frontier.points[1]).state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])


@pytest.mark.usefixtures("quick")
def test_scores_know_their_errors(start):
    right = torch.ones(100)
    wrong = right.clone()
    wrong[:10] = 0

    def evaluate(model: nn.Module) -> Score:
        return Score.of(wrong if vp.plan_of(model).names else right, {"top5": 0.95})

    original, pooled = start(rounds=1, evaluate=evaluate).points
    assert (original.standard_error, original.drop_standard_error) == (0, 0)
    assert pooled.standard_error == pytest.approx(wrong.std().item() / 10)
    assert pooled.drop_standard_error == pytest.approx(wrong.std().item() / 10)
    assert pooled.metrics == {"top5": 0.95}


@pytest.mark.usefixtures("quick")
def test_ends_when_the_drop_is_too_large(start, tmp_path):
    for _ in range(2):  # a second start ends at the same place
        frontier = start(rounds=3, max_drop=0.1, evaluate=evaluate)
        assert [point.over_limit for point in frontier.points] == [False, False, True]
    assert "round-02 drops more than 0.1" in (tmp_path / "run" / "log.txt").read_text()
    assert not (tmp_path / "run" / "round-03").exists()


SITES = {
    "names": ({"names": ["0", "5"], "rounds": 1}, [["5", "0"]]),
    "some rounds": ({"rounds": Grouped(sizes=(2,))}, [["2", "5"]]),
    "thresholds": ({"rounds": Grouped(thresholds=(0.15, 0.16, 0.5))}, [["2"], ["5", "0"]]),
    "listed": ({"rounds": [["0"], ["2"]]}, [["0"], ["2"]]),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("case", SITES)
def test_which_sites_when(start, tmp_path, case):
    options, expected = SITES[case]
    frontier = start(**options)
    plans = [point.plan.names for point in frontier.points]
    assert plans == [list(chain(*expected[:index])) for index in range(len(expected) + 1)]
    assert (tmp_path / "run" / "sensitivity.json").exists() == (case != "listed")


@pytest.mark.usefixtures("quick")
def test_left_over_sites_are_said(start, tmp_path):
    start(rounds=Grouped(sizes=(1,)))
    assert "no round will pool 0, 5" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.usefixtures("quick")
def test_rounds_are_formed_by_the_recoverable_drop(start, network, images, tmp_path):
    drops = {"2": 0.1, "5": 0.0, "0": 0.2}

    def solved(model: nn.Module) -> float:
        """Pretends that reconstruction, which changes weights, turns the order round."""
        (name,) = vp.plan_of(model).names or [""]
        changed = any(
            not torch.equal(value, network.state_dict()[key])
            for key, value in model.state_dict().items()
        )
        return 0.9 - (drops if changed else COSTS).get(name, 0)

    options = {"evaluate": solved, "rounds": Grouped(sizes=(1,)), "recoverable": images.split(8)}
    frontier = start(**options)
    assert frontier.points[1].plan.names == ["5"]
    kept = json.loads((tmp_path / "run" / "sensitivity.json").read_text())
    assert [site["recoverable_drop"] for site in kept["sites"]] == pytest.approx([0, 0.1, 0.2])
    assert [site["drop"] for site in kept["sites"]] == pytest.approx([0.2, 0.1, 0.3])
    with pytest.raises(VirtualPoolError, match="recoverable true, now null"):
        start(**options | {"recoverable": None})
    for given in ({"rounds": [["2"]]}, {"sensitivity": find_sensitivity(network, images, solved)}):
        with pytest.raises(VirtualPoolError, match="recoverable is for a ranking"):
            start(**options | given)


@pytest.mark.usefixtures("quick")
def test_a_given_sensitivity_is_used(start, network, images, tmp_path):
    other = find_sensitivity(network, images, lambda model: -evaluate(model), names=["0", "2"])
    assert other.names == ["0", "2"]
    frontier = start(rounds=2, sensitivity=other)
    assert frontier.points[-1].plan.names == ["0", "2"]
    kept = json.loads((tmp_path / "run" / "sensitivity.json").read_text())
    assert Sensitivity.from_json(kept) == other


@pytest.mark.usefixtures("quick")
def test_by_time_saved(start, tmp_path):
    frontier = start(rounds=ByTimeSaved(count=3))
    # Milliseconds per accuracy lost: 2 saves 15, 5 saves 12.5 and 0 saves 3.3.
    assert frontier.points[-1].plan.names == ["2", "5", "0"]
    assert [point.speedup.median for point in frontier.points] == [1, 8 / 6.5, 2, 8 / 3]
    times = {path.stem: read_document(path) for path in (tmp_path / "run" / "time-saved").iterdir()}
    assert times == pytest.approx({"0": 1.05, "2": 1.575, "5": 2.625})


@pytest.mark.usefixtures("quick")
def test_the_seed_and_nothing_else_decides_the_random_numbers(start, network, tmp_path):
    def biases(seed: int, name: str) -> list[Tensor]:
        torch.manual_seed(torch.seed())
        options = {"rounds": [["2"], ["5"]], "finetune": finetune, "seed": seed}
        return _biases(network, start(run_dir=tmp_path / name, **options))

    one, same, other = biases(0, "one"), biases(0, "same"), biases(1, "other")
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[1], other[1])
    assert not torch.equal(one[1] - one[0], one[2] - one[1])


STOPS = ["evaluate 1", "evaluate 3", "evaluate 5", "finetune 2"]


@pytest.mark.usefixtures("quick")
def test_goes_on_after_ctrl_c(start, network, tmp_path):
    happened = Interruptions()

    def counted_evaluate(model: nn.Module) -> float:
        happened.count("evaluate")
        return evaluate(model)

    def counted_finetune(model: nn.Sequential, current: Round) -> None:
        finetune(model, current)
        happened.count("finetune")

    options = {"evaluate": counted_evaluate, "finetune": counted_finetune, "rounds": 2}
    whole = start(**options, run_dir=tmp_path / "whole")
    expected = [(point.accuracy, point.plan) for point in whole.points]
    biases = _biases(network, whole)
    for stop in STOPS:
        happened.begin(stop)
        run = tmp_path / stop
        with pytest.raises(KeyboardInterrupt):
            start(**options, run_dir=run)
        resumed = start(**options, run_dir=run)
        # Nothing but the interrupted work was done twice.
        assert happened.calls.total() == 1 + 3 + 2 + 2 + 1, stop
        assert [(point.accuracy, point.plan) for point in resumed.points] == expected, stop
        assert all(map(torch.equal, _biases(network, resumed), biases)), stop
        assert read_records(run / "round-01" / "training.jsonl") == [{"step": 1, "loss": 0.5}]
        assert "stopped by KeyboardInterrupt" in (run / "log.txt").read_text()


@pytest.mark.usefixtures("quick")
def test_a_resumable_training_keeps_its_records(start, tmp_path):
    steps = []

    def resumable(model: nn.Module, current: Round) -> None:
        state = current.checkpoint / "step"
        first = int(state.read_text()) + 1 if state.exists() else 0
        current.rewind(first - 1)
        current.checkpoint.mkdir(parents=True, exist_ok=True)
        for step in range(first, 4):
            steps.append(step)
            current.log(step=step)
            if len(steps) == 3:
                raise KeyboardInterrupt
            state.write_text(str(step))

    with pytest.raises(KeyboardInterrupt):
        start(rounds=1, finetune=resumable)
    start(rounds=1, finetune=resumable)
    assert steps == [0, 1, 2, 2, 3]
    records = read_records(tmp_path / "run" / "round-01" / "training.jsonl")
    assert records == [{"step": step} for step in range(4)]


@pytest.mark.usefixtures("quick")
def test_a_list_of_recoveries_goes_on_where_it_was(start, network, tmp_path):
    calls: list[str] = []
    stop = 0

    def first(model: nn.Module, current: Round) -> None:
        count("first")
        assert current.checkpoint == current.directory / "checkpoint"
        finetune(model, current)

    def second(model: nn.Module, current: Round) -> None:
        """Goes on from its own first half."""
        state = current.checkpoint / "half.pt"
        if not state.exists():
            count("second")
            finetune(model, current)
            current.checkpoint.mkdir(parents=True)
            torch.save(model.state_dict(), state)
        count("half")
        model.load_state_dict(torch.load(state))
        half(model, current)

    def half(model: nn.Module, current: Round) -> None:
        model.get_parameter("0.bias").data.mul_(2)
        current.log(step=1, loss=0.5)

    def count(what: str) -> None:
        calls.append(what)
        if len(calls) == stop:
            raise KeyboardInterrupt

    options = {"finetune": [first, second], "rounds": [["2"], ["5"]]}
    biases = _biases(network, start(**options, run_dir=tmp_path / "whole"))
    whole = ["first", "second", "half"] * 2
    assert calls == whole
    for stop in (2, 3, 6):
        calls.clear()
        run = tmp_path / f"{stop}"
        with pytest.raises(KeyboardInterrupt):
            start(**options, run_dir=run)
        resumed = start(**options, run_dir=run)
        assert calls == whole[:stop] + whole[stop - 1 :]
        assert all(map(torch.equal, _biases(network, resumed), biases))
        assert _files(run) == _files(tmp_path / "whole")
        records = [{"step": 1, "loss": 0.5}, *[{"step": 1, "loss": 0.5, "recovery": 2}] * 2]
        assert read_records(run / "round-02" / "training.jsonl") == records


@pytest.mark.usefixtures("quick")
def test_a_list_of_one_recovery_is_that_recovery(start, network, tmp_path):
    alone = start(rounds=[["2"]], finetune=finetune)
    listed = start(rounds=[["2"]], finetune=[finetune], run_dir=tmp_path / "listed")
    assert all(map(torch.equal, _biases(network, alone), _biases(network, listed)))
    configs = [(tmp_path / it / "config.json").read_text() for it in ("run", "listed")]
    assert configs[0] == configs[1]


@pytest.mark.usefixtures("quick")
def test_each_recovery_of_a_list_belongs_to_the_run(start):
    def at(rate: float) -> Any:
        return lambda model, current: model.get_parameter("0.bias").data.add_(rate)

    start(rounds=[["2"]], finetune=[at(0.1), at(0.1)])
    with pytest.raises(VirtualPoolError, match=r"finetune 2's.rate 0.1, now 0.3"):
        start(rounds=[["2"]], finetune=[at(0.1), at(0.3)])
    with pytest.raises(VirtualPoolError, match="finetune"):
        start(rounds=[["2"]], finetune=at(0.1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "finetune is an empty list"),
        ([finetune, None], r"finetune\[1\] is None, which cannot be called"),
        (["labels"], r"finetune\[0\] is 'labels', which cannot be called"),
        ("labels", "finetune is 'labels'; give"),
    ],
)
def test_what_is_no_recovery_is_refused(start, given, said, tmp_path):
    with pytest.raises(VirtualPoolError, match=said):
        start(finetune=given)
    assert not (tmp_path / "run").exists()


CHANGES = {
    r"schedule\.kind": {"rounds": 1},
    "sites": {"rounds": [["2"], ["5"]]},
    "learning_rates": {"learning_rates": 0.1},
    "epochs": {"epochs": [1]},
    "training_steps": {"training_steps": 7},
    "max_drop": {"max_drop": 0.5},
    r"latency\.threads": {"latency": {"repeats": 1, "threads": 2}},
    r"latency\.dtype": {"latency": LATENCY | {"dtype": torch.float64}},
    "seed": {"seed": 1},
    "finetune": {"finetune": finetune},
    "recalibrate": {"recalibrate": lambda model: None},
    "evaluate": {"evaluate": lambda model: 0.5},
    r"settings\.subset": {"settings": {"subset": 100}},
}


@pytest.mark.usefixtures("quick")
def test_another_config_is_refused(start, network):
    frontier = start(rounds=[["2"]])
    for key, options in CHANGES.items():
        with pytest.raises(VirtualPoolError, match=f"made with .*{key} "):
            start(**{"rounds": [["2"]]} | options)
    before = network[0].bias.data
    network[0].bias.data = before + 1
    with pytest.raises(VirtualPoolError, match="made with weights"):
        start(rounds=[["2"]])
    network[0].bias.data = before
    assert start(rounds=[["2"]]).points[1].plan == frontier.points[1].plan


@pytest.mark.usefixtures("quick")
def test_a_changed_training_loop_is_refused(start, monkeypatch):
    def loop(rate):
        return lambda model, _: model[0].bias.data.add_(rate)

    start(rounds=[["2"]], finetune=loop(0.1))
    start(rounds=[["2"]], finetune=loop(0.1))
    with pytest.raises(VirtualPoolError, match=r"made with finetune's\.rate 0\.1, now 0\.2"):
        start(rounds=[["2"]], finetune=loop(0.2))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(sys.modules[search.__module__], "join", lambda **_: None)
    with pytest.raises(VirtualPoolError, match="made with processes 1, now 2"):
        start(rounds=[["2"]], finetune=loop(0.1))


@pytest.mark.usefixtures("quick")
def test_scores_and_weights_that_are_not_finite_name_the_round(start):
    def broken(model: nn.Module) -> float:
        return float("nan") if len(vp.plan_of(model).names) == 2 else 0.5

    with pytest.raises(VirtualPoolError, match=r"score of the model of .*round-02 is nan"):
        start(rounds=[["2"], ["5"]], evaluate=broken)


@pytest.mark.usefixtures("quick")
def test_weights_that_are_not_finite_are_not_kept(start, tmp_path):
    with pytest.raises(VirtualPoolError, match=r"round-01: after recovery, 2\.bias holds"):
        start(rounds=1, finetune=lambda model, _: model[2].bias.data.fill_(float("inf")))
    assert not (tmp_path / "run" / "round-01" / "model.safetensors").exists()


class Masked(nn.Module):
    """Adds a mask with minus infinity in it, as attention has, and gives it beside the map."""

    mask: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
        self.register_buffer("scale", torch.ones(1), persistent=False)

    def forward(self, images):
        x = self.norm(self.convolution(images)).relu()
        return x * self.scale, self.mask + 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda model: model.norm.running_var.fill_(float("nan")), r"norm\.running_var"),
        (lambda model: model.norm.running_mean.fill_(float("inf")), r"norm\.running_mean"),
        (lambda model: model.scale.fill_(float("nan")), "output 0"),
        (lambda model: model.convolution.weight.data.fill_(1e38), "output 0"),
        (lambda model: None, None),
    ],
)
def test_buffers_and_outputs_that_are_no_longer_finite_are_not_kept(
    images, tmp_path, change, named
):
    def start():
        return search(
            Masked().eval(),
            images,
            evaluate=lambda _: 0.5,
            finetune=lambda model, _: change(model),
            rounds=[["convolution"]],
            run_dir=tmp_path,
            latency=LATENCY,
        )

    if named is None:
        assert len(start().points) == 2
        return
    with pytest.raises(VirtualPoolError, match=f"round-01: after recovery, {named} holds"):
        start()
    assert not (tmp_path / "round-01" / "model.safetensors").exists()


@pytest.mark.usefixtures("quick")
def test_observer_and_logging(start, caplog):
    told = []
    with caplog.at_level(logging.INFO, "virtualpool"):
        start(rounds=1, observer=lambda *event: told.append(event))
    assert told[0] == ("original", 0, 1, "the unmodified model")
    assert told[-2:] == [("rounds", 0, 1, "round-01"), ("rounds", 1, 1, "round-01 done")]
    stages = [stage for stage, *_ in told]
    assert list(dict.fromkeys(stages)) == ["original", "sensitivity", "rounds"]
    assert "finished" in caplog.text


@pytest.mark.usefixtures("quick")
def test_the_observer_is_told_of_the_steps_of_fine_tuning(start, images):
    told = []
    batches = [(images, torch.zeros(len(images), dtype=torch.int64))] * 2
    start(
        rounds=1, finetune=by_labels(batches, epochs=1), observer=lambda *event: told.append(event)
    )
    steps = [event[:3] for event in told if event[3].startswith("loss")]
    assert steps == [("round-01", 1, 2), ("round-01", 2, 2)]


REFUSED = {
    "too many rounds": ({"rounds": 4}, "4 rounds, for 3 sites"),
    "learning rates": ({"rounds": 2, "learning_rates": [0.1]}, "1 numbers for 2 rounds"),
    "a rate below zero": ({"learning_rates": -1}, "learning_rates is -1; .* a number above 0"),
    "a rate of zero": ({"learning_rates": 0.0}, "learning_rates is 0.0; it must"),
    "no rate": ({"learning_rates": float("nan")}, "learning_rates is nan"),
    "a huge rate": ({"learning_rates": [0.1, 1e9], "rounds": 2}, "learning_rates is 1000000000.0"),
    "an endless rate": ({"learning_rates": float("inf")}, "learning_rates is inf"),
    "a rate as a text": ({"learning_rates": "0.1"}, "learning_rates is '0.1'; it must be a number"),
    "no drop": ({"max_drop": float("nan")}, "max_drop is nan"),
    "an endless drop": ({"max_drop": float("inf")}, "max_drop is inf"),
    "no epochs": ({"epochs": 0}, "epochs is 0; it must be a number above 0"),
    "epochs below zero": ({"epochs": [1, -0.5], "rounds": 2}, "epochs is -0.5"),
    "nan epochs": ({"epochs": float("nan")}, "epochs is nan"),
    "endless epochs": ({"epochs": float("inf")}, "epochs is inf"),
    "huge epochs": ({"epochs": 10**400}, "epochs is 1000000"),
    "epochs": ({"rounds": 1, "epochs": [1, 2]}, "epochs has 2 numbers for 1 rounds"),
    "two lengths": ({"epochs": 1, "training_steps": 9}, "in epochs or in training_steps, not in"),
    "no length": ({"training_steps": [9, 0], "rounds": 2}, "training_steps is 0; .* 1 or more"),
    "half a step": ({"training_steps": 1.5}, "training_steps is 1.5; it must be a whole number"),
    "unknown name": ({"names": ["1"]}, "no convolution '1'"),
    "unknown listed name": ({"rounds": [["2"], ["7"]]}, "no convolution '7'"),
    "listed outside names": (
        {"rounds": [["2"], ["5"]], "names": ["2"]},
        "rounds has 5, and names does not",
    ),
    "latency": ({"latency": {"mod": "eager"}}, "no option mod; it takes mode, "),
    "settings": ({"settings": {"a": object()}}, "must be numbers"),
    "text": ({"rounds": "all"}, "rounds is 'all'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_come_before_any_work(start, case):
    options, message = REFUSED[case]
    with pytest.raises(VirtualPoolError, match=message):
        start(**{"evaluate": lambda _: pytest.fail("evaluated")} | options)


FORMER = {
    "latency": {"rounds": 1, "seconds": 0.5, "threads": 1},
    "energy": {"rounds": 1, "seconds": 0.5},
}


@pytest.mark.parametrize("options", FORMER)
def test_options_of_0_1_are_taken_under_their_names_now(start, tmp_path, options):
    now = FORMER[options] | {"repeats": 1, "duration_s": 0.5}
    with pytest.warns(
        FutureWarning, match=r"named (repeats|duration_s) since .* goes in 0\.3"
    ) as told:
        start(rounds=1, **{options: FORMER[options]})
    assert {warning.filename for warning in told} == {__file__}
    assert len(told) == 2
    kept = read_document(tmp_path / "run/config.json")[options]
    assert kept == {name: now[name] for name in now if name not in ("rounds", "seconds")}


def test_an_option_under_both_names_is_refused(start):
    with pytest.raises(
        VirtualPoolError, match="latency has rounds and repeats, two names of one option"
    ):
        start(rounds=1, latency={"rounds": 1, "repeats": 2})


def test_a_bad_latency_setting_can_be_put_right(start):
    with pytest.raises(VirtualPoolError, match="mode"):
        start(rounds=1, latency={"mode": "egaer"}, evaluate=lambda _: pytest.fail("evaluated"))
    assert len(start(rounds=1).points) == 2


@pytest.mark.parametrize("model", ["resnet18", {"0.weight": 1}])
def test_what_is_no_model_is_refused(model, images, tmp_path):
    with pytest.raises(VirtualPoolError, match=r"A torch\.nn\.Module is expected"):
        vp.search(model, images[:1], evaluate=lambda _: 1.0, run_dir=tmp_path / "run")


def test_a_pooled_model_is_refused(network, images, tmp_path):
    pooled = vp.apply(network, images, ["0"])
    with pytest.raises(VirtualPoolError, match="1 pooled site already"):
        search(pooled, images, evaluate=evaluate, run_dir=tmp_path)


# Runs one search whole, and one that is killed again and again: at any evaluation, optimiser step
# or file, before the file takes its place. Each start is a process of its own, forked from one
# that has imported torch, for speed.
KILLED = """
import os, random, signal, sys
import torch
from torch import nn
import virtualpool
import accelerate
from virtualpool.measure import Latency, Setting
from virtualpool.search import Score, by_labels, search, smaller
from virtualpool.search.run import forms

torch.set_num_threads(1)
torch.manual_seed(0)
images = torch.randn(32, 3, 8, 8)
labels = torch.randint(4, (32,))
model = nn.Sequential(
    nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
    nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(6, 4),
)
# Late imports happen here, once.
virtualpool.sites(model, images)
torch.optim.SGD(model.parameters(), lr=0.0).zero_grad()
left = None

# Which form of a model is faster must not differ from one run to the other.
setting = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")
milliseconds = {"unmodified": 8.0, "unfused": 6.0, "fused": 4.0, "smaller": 3.0}
milliseconds["half_resolution"] = 2.0
forms.latency = smaller.latency = lambda models, *_, **__: {
    name: Latency((milliseconds[name],), setting) for name in models
}

def event():
    global left
    if left is not None:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

def evaluate(model):
    event()
    return Score.of(-nn.functional.cross_entropy(model(images), labels, reduction="none"))

def finetune(model, round):
    optimizer = torch.optim.SGD(model.parameters(), lr=round.learning_rate, momentum=0.9)
    for step in range(3):
        event()
        chosen = torch.randperm(32)[:16]
        loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        round.log(step=step, loss=loss)

trained = by_labels(
    [(images[:16], labels[:16]), (images[16:], labels[16:])],
    log_steps=1, checkpoint_seconds=1e-9, ema=0.9,
)
fsync = os.fsync
def counted_fsync(descriptor):
    event()
    fsync(descriptor)
os.fsync = counted_fsync

def start(folder, events):
    global left
    left = events
    pid = os.fork()
    if pid == 0:
        search(
            model, images[:1], evaluate=evaluate, finetune=[finetune, trained], rounds=2,
            run_dir=folder, epochs=2, learning_rates=0.05, latency={"repeats": 1, "threads": 1},
            compare="smaller-images",
        )
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

if start(f"{sys.argv[1]}/whole", None) != 0:
    sys.exit("the whole run failed")
draw = random.Random(0)
codes = []
while not codes or codes[-1] == -signal.SIGKILL:
    codes.append(start(f"{sys.argv[1]}/killed", draw.randint(0, 18)))
print(*codes)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_killed_again_and_again_it_ends_with_the_same_frontier(tmp_path):
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=900,  # a deadlock, not a slow machine
    )
    assert result.returncode == 0, result.stderr
    *kills, end = result.stdout.split()
    assert end == "0", result.stderr
    assert len(kills) >= 5
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected, found = (Frontier.load(run / "frontier.json") for run in (whole, killed))
    assert (len(expected.points), len(expected.smaller)) == (3, 3)
    both = [(*frontier.points, *frontier.smaller) for frontier in (expected, found)]
    for one, other in zip(*both, strict=True):
        assert (one.name, one.accuracy, one.drop) == (other.name, other.accuracy, other.drop)
        assert (one.plan, one.macs, one.metrics) == (other.plan, other.macs, other.metrics)
        assert one.drop_standard_error == other.drop_standard_error
    for name in ("sensitivity.json", "rounds.json", "config.json", "round-01/plan.json",
                 "round-01/training.jsonl", "round-02/training.jsonl",
                 "round-01/fusing.json", "round-02/fusing.json",
                 "round-01/model.safetensors", "round-02/model.safetensors",
                 "smaller-0.75/model.safetensors", "smaller-0.5/model.safetensors",
                 "smaller-0.5/round-02/training.jsonl"):  # fmt: skip
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    assert _files(killed) == _files(whole)


def _files(run: Path) -> set[str]:
    return {path.relative_to(run).as_posix() for path in run.rglob("*")}


@pytest.mark.usefixtures("quick")
def test_padded_borders_are_in_the_plan_of_each_round_and_of_the_run(start, network):
    frontier = start(border="padded")
    assert [point.plan.border for point in frontier.points[1:]] == ["padded"] * 3
    last = frontier.restore(network, frontier.points[-1])
    assert vp.plan_of(last).padded == frontier.points[-1].plan.padded != ()
    assert start(border="padded").points == frontier.points
    with pytest.raises(VirtualPoolError, match="border"):
        start()
