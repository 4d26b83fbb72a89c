"""A search for a target from end to end, with scores and times from tables."""

import json
from itertools import count as counting

import pytest
import torch
from tests.search.planning.made import SETTING, latency
from torch import nn

import virtualpool as vp
from virtualpool import Target, VirtualPoolError
from virtualpool.documents import read_document
from virtualpool.fuse import Report
from virtualpool.measure import Latency
from virtualpool.records import read_records
from virtualpool.search import Frontier, rounds
from virtualpool.search.planning import budget, trials
from virtualpool.search.planning.trial import Plans
from virtualpool.search.run import forms, models

COSTS = {"0": 0.14, "2": 0.01, "5": 0.05}


def evaluate(model: nn.Module, *, smaller: float = 2.0) -> float:
    """As if each pooled site cost a fixed part of the accuracy, and a smaller image its part."""
    plan = vp.plan_of(model)
    return round(
        0.9 - sum(COSTS[name] for name in plan.names) - smaller * (1 - plan.image_scale), 6
    )


def smaller_is_cheap(model: nn.Module) -> float:
    return evaluate(model, smaller=0.08)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No time is measured, and what is solved is not of interest but where a test says so."""
    for module in (trials, forms, models):
        monkeypatch.setattr(module, "latency", latency)
    monkeypatch.setattr(trials, "reconstruct", lambda pooled, *_, **__: pooled)
    monkeypatch.setattr(rounds, "by_reconstruction", lambda *_: moved)


@pytest.fixture
def unfused(monkeypatch):
    """Nothing is fused, which takes longer than all else."""
    for module in (trials, models):
        monkeypatch.setattr(module, "fused_if_possible", lambda *_: (None, Report(left={"": "no"})))


def moved(model: nn.Module, current: object) -> None:
    """Stands for reconstruction: leaves a trace of each time."""
    with torch.no_grad():
        model.get_parameter("0.bias").add_(1)


@pytest.fixture
def start(network, images, tmp_path):
    """Starts a search of the small network in one run directory; options can be changed."""

    def start(target: Target | None = None, **options) -> Frontier:
        defaults = {"evaluate": evaluate, "run_dir": tmp_path / "run", "image_scales": [0.75]}
        defaults |= {"recoverable": images.split(8), "latency": {"repeats": 1}}
        return vp.search(network, images[:1], target=target or Target(), **defaults | options)

    return start


def plans(frontier: Frontier) -> list[tuple[str, float]]:
    return [("".join(sorted(it.plan.names)), it.plan.image_scale) for it in frontier.points[1:]]


def tried(folder) -> list[str]:
    return [
        "".join(it["draft"]["sites"]) + ("s" if it["draft"]["image_scale"] != 1 else "")
        for it in read_records(folder / "plans.jsonl")
    ]


def test_plans_are_tried_kept_and_made_into_models(start, network, images, tmp_path):
    frontier = start()
    run = tmp_path / "run"
    # All, each alone, and by rising drop for a millisecond: 2, 5, 0. The smaller image, and swaps.
    assert tried(run) == ["025", "0", "2", "5", "25", "s", "02", "05"]
    assert plans(frontier) == [("2", 1), ("5", 1), ("25", 1), ("025", 1)]
    assert [it.name for it in frontier.points[1:]] == [f"round-0{place}" for place in (1, 2, 3, 4)]
    assert [it.accuracy for it in frontier.points] == [0.9, 0.89, 0.85, 0.84, 0.7]
    speeds = [it.speedup.median for it in frontier.points[1:]]
    assert speeds == pytest.approx([8 / 6.5, 8 / 5.5, 8 / 4, 8 / 3])
    assert Frontier.load(run / "frontier.json") == frontier

    # Each begins with the weights of the largest plan that is a part of it.
    biases = [
        (frontier.restore(network, it).get_parameter("0.bias") - network[0].bias).mean().item()
        for it in frontier.points[1:]
    ]
    assert biases == pytest.approx([1, 1, 2, 3])
    for point in frontier.points[1:]:
        assert vp.measure.macs(frontier.restore(network, point), images) == point.macs

    kept = read_document(run / "plans.json")
    assert kept["target"]["points"] == 6
    reasons = {"".join(it["trial"]["draft"]["sites"]): it["reason"] for it in kept["decisions"]}
    assert reasons["0"].startswith("beaten by 1 site (2): drop 0.0100, 1.23x")
    assert reasons["25"] == "no plan that was tried is both faster and better"
    log = (run / "log.txt").read_text()
    for said in (
        "try up to 16 plans of 3 sites, images at scale 0.75, each reconstructed",
        "a plan takes about",
        "the least drop for a millisecond saved: 2, 5, 0",
        "plan 5, 5 added: 2 sites (2, 5): drop 0.0600, 2.00x",
        "images at scale 0.75 get no sites: pooling alone is ahead there",
        "round-03 will be 2 sites (2, 5)",
        "No plan with images at another scale is kept: at every speed pooling alone is ahead.",
    ):
        assert said in log


@pytest.mark.usefixtures("unfused")
def test_a_smaller_image_is_mixed_in_where_it_pays(start, tmp_path):
    frontier = start(evaluate=smaller_is_cheap)
    smaller = [(names, 0.75) for names in ("", "2", "5", "25", "025")]
    assert plans(frontier) == [("2", 1), *smaller]
    smaller = frontier.points[2]
    assert (smaller.is_smaller, smaller.is_fused) == (True, False)
    assert smaller.speedup.median == pytest.approx(1 / 0.75**2)
    assert "pay in 5 of the 6 kept plans" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.usefixtures("unfused")
@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (Target(2), ["25", "025"]),
        (Target(max_latency_ms=5.8), ["5", "25", "025"]),
        (Target(max_drop=0.055), ["2", "5"]),
    ],
)
def test_the_kept_plans_are_within_the_bound(start, target, kept):
    assert [names for names, _ in plans(start(target, image_scales=[]))] == kept


@pytest.mark.usefixtures("unfused")
def test_plans_of_no_use_are_not_kept_unless_their_speed_is_asked_for(start, tmp_path):
    def evaluate_sharply(model: nn.Module) -> float:
        return evaluate(model, smaller=1.2) - 0.1 * ("0" in vp.plan_of(model).names)

    asked = {"evaluate": evaluate_sharply, "image_scales": [0.5]}
    assert plans(start(**asked)) == [("2", 1), ("5", 1), ("25", 1)]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "images at scale 0.5 get no sites: alone they lose too much" in log
    fast = start(Target(min_speedup=3), run_dir=tmp_path / "fast", **asked)
    assert plans(fast) != []
    assert all(scale == 0.5 for _, scale in plans(fast))


@pytest.mark.usefixtures("unfused")
def test_fine_tuning_is_expected_to_win_back_half(start):
    asked = {"target": Target(1, max_drop=0.03), "image_scales": [], "names": ["2", "5"]}
    assert [names for names, _ in plans(start(**asked, finetune=moved))] == ["25"]


@pytest.mark.usefixtures("unfused")
def test_a_bound_that_no_plan_keeps_names_the_nearest_and_a_lesser_goes_on(start, tmp_path):
    with pytest.raises(VirtualPoolError, match=r"the nearest is 3 sites \(0, 2, 5\).*2.67x"):
        start(Target(min_speedup=9))
    before = tried(tmp_path / "run")
    assert plans(start(Target(min_speedup=2.5))) == [("025", 1)]
    assert tried(tmp_path / "run") == before
    with pytest.raises(
        VirtualPoolError, match=r"made for 6 models with a speed-up of 2.5x or more"
    ):
        start(Target(3))


@pytest.mark.usefixtures("unfused")
def test_without_a_bound_nothing_faster_is_a_result_too(start, monkeypatch, tmp_path):
    monkeypatch.setattr(trials, "latency", lambda timed, *_, **__: {
        name: Latency((8.0,), SETTING) for name in timed
    })  # fmt: skip
    assert len(start(image_scales=[]).points) == 1
    assert "faster than the original here" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.usefixtures("unfused")
def test_where_each_faster_plan_loses_too_much_the_nearest_is_named(start, tmp_path):
    asked = {"evaluate": lambda model: evaluate(model) - 0.3 * bool(vp.plan_of(model).names)}
    assert len(start(image_scales=[], **asked).points) == 1
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "each faster one loses more than 25% of the original's score, 1 site (2)" in log


@pytest.mark.usefixtures("unfused")
@pytest.mark.parametrize(
    ("seconds", "tries", "kept"),
    [(7.5, 2, 2), (0.1, 1, 1)],
)
def test_a_budget_ends_the_tries_and_then_the_models(
    start, monkeypatch, tmp_path, seconds, tries, kept
):
    ticks = counting()
    # Each look at the clock is half a second: a trial begins, ends, and asks whether to go on.
    monkeypatch.setattr(budget, "monotonic", lambda: next(ticks) / 2)
    frontier = start(budget=seconds)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert len(tried(tmp_path / "run")) == tries
    assert len(frontier.points) == 1 + kept
    assert "no more plans are tried: another one takes about" in log
    assert "the sites join in 2 groups, maps (12 x 12), 5" in log


@pytest.mark.usefixtures("unfused")
def test_a_spent_budget_tries_smaller_images_where_all_sites_lose_too_much(
    start, monkeypatch, tmp_path
):
    ticks = counting()
    monkeypatch.setattr(budget, "monotonic", lambda: next(ticks) / 2)
    asked = {
        "evaluate": lambda model: smaller_is_cheap(model) - 0.3 * bool(vp.plan_of(model).names)
    }
    asked |= {"image_scales": [0.75, 0.5]}
    assert plans(start(budget=5, **asked)) == [("", 0.75)]
    assert tried(tmp_path / "run") == ["025", "s", "s"]
    assert plans(start(**asked)) == [("", 0.75), ("", 0.5)]


@pytest.mark.usefixtures("unfused")
def test_goes_on_after_ctrl_c_and_does_nothing_twice(start, tmp_path):
    calls, stop = [], 0
    asked = {"target": Target(1), "image_scales": [], "names": ["2", "5"]}

    def counted(model: nn.Module) -> float:
        calls.append(vp.plan_of(model))
        if len(calls) == stop:
            raise KeyboardInterrupt
        return evaluate(model)

    whole = start(**asked, run_dir=tmp_path / "whole")
    for stop in (2, 4, 5):
        calls.clear()
        again = asked | {"evaluate": counted, "run_dir": tmp_path / f"{stop}"}
        with pytest.raises(KeyboardInterrupt):
            start(**again)
        resumed = start(**again)
        assert len(calls) == 1 + 1 + 3 + 1  # one in vain; the original, plans tried, a model
        assert whole.points == resumed.points
        assert start(**again) == resumed
        assert len(calls) == 6


@pytest.mark.usefixtures("unfused")
def test_plans_that_are_known_need_no_room_in_a_budget(start, monkeypatch, tmp_path):
    def interrupted(model: nn.Module) -> float:
        if vp.plan_of(model).names == ["2", "5"]:
            raise KeyboardInterrupt
        return evaluate(model)

    ticks = counting()
    monkeypatch.setattr(budget, "monotonic", lambda: next(ticks) / 2)
    asked = {"target": Target(1), "image_scales": [], "evaluate": interrupted}
    with pytest.raises(KeyboardInterrupt):
        start(**asked)
    before = tried(tmp_path / "run")
    assert before == ["025", "0", "2", "5"]
    with pytest.raises(KeyboardInterrupt):
        start(**asked, budget=6)  # room for three plans of half a second, and the time to ask
    assert tried(tmp_path / "run") == before
    assert "the sites join" not in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.usefixtures("unfused")
def test_without_labels(start, network, images):
    evaluate = vp.output_agreement(network, [images])
    frontier = start(evaluate=evaluate, image_scales=[], names=["2"])
    assert frontier.unit.name == "output agreement"
    assert frontier.points[1].drop > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rounds": 3}, "rounds given beside a target"),
        ({"max_drop": 0.1, "compare": "smaller-images"}, "max_drop and compare given beside"),
        ({"recoverable": None}, "Give recoverable=batches"),
        ({"recoverable": iter([])}, "recoverable is read again for every model"),
        ({"budget": 0}, "budget is 0"),
        ({"image_scales": [1]}, "which is always tried"),
        ({"learning_rates": [1e-3, 1e-3]}, "learning_rates has 2 numbers for 6"),
        ({"names": ["conv"]}, "no convolution 'conv'"),
        ({"evaluate": lambda model: float("nan")}, "The score of the unmodified model is nan"),
    ],
)
def test_wrong_arguments(start, tmp_path, options, said):
    with pytest.raises(VirtualPoolError, match=said):
        start(**options)
    assert not (tmp_path / "run" / "plans.jsonl").exists()


@pytest.mark.parametrize("options", [{"budget": 9}, {"image_scales": [0.5], "budget": 9}])
def test_what_is_for_a_target_alone(network, images, tmp_path, options):
    with pytest.raises(VirtualPoolError, match="given without a target"):
        vp.search(network, images[:1], evaluate=evaluate, run_dir=tmp_path / "run", **options)


@pytest.mark.usefixtures("unfused")
def test_another_scale_or_a_broken_record_is_refused(start, tmp_path):
    start(Target(1), image_scales=[])
    with pytest.raises(VirtualPoolError, match=r"schedule\.scales"):
        start(Target(1), image_scales=[0.5])
    path = tmp_path / "run" / "plans.jsonl"
    path.write_text(json.dumps({"schema": 2, "draft": 5}) + "\n")
    with pytest.raises(VirtualPoolError, match=r"plans\.jsonl: Not a plan that was tried"):
        start(image_scales=[])


def test_sites_are_really_reconstructed(start, network, images, monkeypatch):
    asked = []

    def reconstruct(pooled, original, batches, *, steps, observer):
        asked.append((vp.plan_of(pooled).names, original is network, len(batches), steps))
        return pooled

    monkeypatch.setattr(trials, "reconstruct", reconstruct)
    start(names=["2", "5"])
    assert asked == [(["2", "5"], True, 2, 0), (["2"], True, 2, 0), (["5"], True, 2, 0)]


@pytest.mark.usefixtures("unfused")
@pytest.mark.parametrize(("steady", "timed", "said"), [(1, 1, False), (2, 2, False), (9, 3, True)])
def test_a_busy_machine_is_timed_again(start, monkeypatch, tmp_path, steady, timed, said):
    calls = []

    def unsteady(models, *_, **__):
        calls.append(models)
        half = 4.0 if len(calls) >= steady else 1.0
        return {"original": Latency((8.0, 8.0), SETTING), "plan": Latency((4.0, half), SETTING)}

    monkeypatch.setattr(trials, "latency", unsteady)
    start(Target(1), image_scales=[], names=["2"])
    assert len(calls) == timed
    log = (tmp_path / "run" / "log.txt").read_text()
    assert ("the machine is busy" in log) == said
    assert ("1 site (2): drop 0.0100, 2.00x" in log) == (not said)
    noise = "The machine was busy: 1 of 1 plan had speed-ups with quartiles more than 1.15x apart"
    assert [noise in line for line in log.splitlines()].count(True) == said
    decided = Plans.from_json(read_document(tmp_path / "run" / "plans.json"))
    assert decided.noise.startswith(noise) == said
