import copy
import json

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.measure.score import Score
from virtualpool.search.sensitivity import Sensitivity, eligible, sensitivity

COSTS = {"0": 0.3, "2": 0.1, "5": 0.2}


def evaluate(model: nn.Module) -> float:
    """As if each pooled site cost a fixed part of the accuracy."""
    return 0.9 - sum(COSTS[name] for name in vp.plan_of(model).names)


def test_most_robust_first(network, images):
    found = sensitivity(network, images, evaluate)
    assert found.names == ["2", "5", "0"]
    assert found.baseline == 0.9
    assert [site.drop for site in found.sites] == [0.1, 0.2, 0.3]
    sites = {site.name: site for site in vp.sites(network, images)}
    assert all(site.before_pool == sites[site.name].before_pool for site in found.sites)
    assert [site.macs for site in found.sites] == [31104, 11664, 15552]
    assert "without fine-tuning" in found.method


def test_of_equal_drops_the_site_with_more_work_comes_first(network, images):
    assert sensitivity(network, images, lambda _: 0.5).names == ["2", "0", "5"]


def test_the_model_stays_as_it_is(network, images):
    network.train()
    before = copy.deepcopy(network.state_dict())
    sensitivity(
        network,
        images,
        evaluate,
        recalibrate=lambda model: model.get_parameter("0.weight").data.zero_(),
    )
    assert all(module.training for module in network.modules())
    assert vp.plan_of(network).names == []
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_drops_are_paired_and_know_their_samples(network, images):
    right = torch.ones(50)
    wrong = right.clone()
    wrong[:5] = 0

    found = sensitivity(
        network, images, lambda model: Score.of(wrong if vp.plan_of(model).names else right)
    )
    assert found.baseline.samples == 50
    assert [site.score.samples for site in found.sites] == [50, 50, 50]
    assert found.sites[0].standard_error == pytest.approx((right - wrong).std().item() / 50**0.5)


def test_names_limit_the_sites(network, images):
    assert sensitivity(network, images, evaluate, names=["5", "2"]).names == ["2", "5"]


def test_recalibrate_runs_on_each_pooled_model_and_is_noted(network, images):
    seen = []

    def renewed(model: nn.Module) -> None:
        seen.append(vp.plan_of(model).names)

    found = sensitivity(network, images, evaluate, recalibrate=renewed)
    assert seen == [["0"], ["2"], ["5"]]
    assert "recalibrated by" in found.method


def test_every_model_sees_the_same_random_numbers(network, images):
    drawn = []

    def evaluate(_: nn.Module) -> float:
        drawn.append(torch.rand(()).item())
        return 0.5

    before = torch.get_rng_state()
    sensitivity(network, images, evaluate)
    assert len(drawn) == 4
    assert len(set(drawn)) == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_a_known_baseline_is_not_evaluated(network, images):
    plans = []

    def noted(model: nn.Module) -> float:
        plans.append(vp.plan_of(model).names)
        return evaluate(model)

    found = sensitivity(network, images, noted, baseline=Score(1.0))
    assert [] not in plans
    assert found.sites[0].drop == 0.2


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
def test_goes_on_after_a_stop(network, images, tmp_path, calls):
    path = tmp_path / "sensitivity.json"
    done = []

    def stopped(model: nn.Module) -> float:
        if len(done) == calls:
            raise KeyboardInterrupt
        done.append(vp.plan_of(model).names)
        return evaluate(model)

    if calls < 4:
        with pytest.raises(KeyboardInterrupt):
            sensitivity(network, images, stopped, path=path)
        partial = Sensitivity.from_json(json.loads(path.read_text()))
        assert len(partial.sites) == calls - 1
        calls = 9
    found = sensitivity(network, images, stopped, path=path)
    assert found == sensitivity(network, images, evaluate)
    assert sorted(done) == [[], ["0"], ["2"], ["5"]]
    # A finished one is only read.
    assert sensitivity(network, images, lambda _: pytest.fail("evaluated"), path=path) == found


OTHER_QUESTIONS = {
    "model": lambda network: network[0].weight.data.mul_(2) is None or {},
    "sites": lambda network: {"names": ["0"]},
    "method": lambda network: {"recalibrate": lambda model: None},
}


@pytest.mark.parametrize("changed", OTHER_QUESTIONS)
def test_the_answer_to_another_question_is_refused(network, images, tmp_path, changed):
    path = tmp_path / "sensitivity.json"
    sensitivity(network, images, evaluate, path=path)
    kept = path.read_text()
    options = OTHER_QUESTIONS[changed](network)
    with pytest.raises(VirtualPoolError, match=f"sensitivity.json.* another {changed}"):
        sensitivity(network, images, evaluate, path=path, **options)
    assert path.read_text() == kept


@pytest.mark.parametrize("text", ['{"sites": [', "[1]", "{}"])
def test_a_broken_file_is_refused(network, images, tmp_path, text):
    path = tmp_path / "sensitivity.json"
    path.write_text(text)
    with pytest.raises(VirtualPoolError, match=r"sensitivity\.json"):
        sensitivity(network, images, evaluate, path=path)


def test_a_score_that_is_not_finite_names_the_site(network, images):
    def broken(model: nn.Module) -> float:
        return float("nan") if vp.plan_of(model).names == ["2"] else 0.5

    with pytest.raises(VirtualPoolError, match="with 2 pooled is nan"):
        sensitivity(network, images, broken)
    with pytest.raises(VirtualPoolError, match="unmodified model is nan"):
        sensitivity(network, images, lambda _: float("nan"))


def test_observer_is_told_of_each_site(network, images):
    told = []
    sensitivity(network, images, evaluate, observer=lambda *event: told.append(event))
    assert told == [
        ("original", 0, 1, "the unmodified model"),
        ("sensitivity", 0, 3, "0"),
        ("sensitivity", 1, 3, "2"),
        ("sensitivity", 2, 3, "5"),
        ("sensitivity", 3, 3, "done"),
    ]


NAMES = {
    "unknown": (["features.2"], r"no convolution 'features\.2'; the nearest are .*2"),
    "near": (["22"], "the nearest are 2"),
    "not eligible": (["10"], "10 .* cannot be pooled: "),
    "pooled already": (["0"], "0 .* cannot be pooled: already pooled"),
    "none": ([], "has no site to pool"),
}


@pytest.mark.parametrize("case", NAMES)
def test_refused_names(network, images, case):
    names, message = NAMES[case]
    # "10" works on a map of a single pixel.
    whole = nn.Sequential(*network[:8], nn.Identity(), nn.Identity(), nn.Conv2d(6, 4, 1))
    whole = vp.apply(whole, images, ["0"])
    with pytest.raises(VirtualPoolError, match=message):
        eligible(whole, images, names)


class Deciding(nn.Module):
    """Depends on values, so it cannot be traced."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.convolution(x if x.sum() > 0 else -x)


def test_of_many_reasons_the_first_are_said(images):
    with pytest.raises(VirtualPoolError, match=r"inside 0, .* and 3 more\)") as caught:
        eligible(nn.Sequential(*(Deciding() for _ in range(5))), images)
    assert "gives each reason" in str(caught.value)


def test_a_model_without_sites_is_refused(images):
    with pytest.raises(VirtualPoolError, match="Flatten has no site to pool"):
        eligible(nn.Flatten(), images)


def test_json_and_limits(network, images):
    found = sensitivity(network, images, evaluate)
    assert Sensitivity.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found.limited_to(["0", "2"]).names == ["2", "0"]
    with pytest.raises(VirtualPoolError, match=r"does not know 7\.x"):
        found.limited_to(["0", "7.x"])
    with pytest.raises(VirtualPoolError, match="Not the sensitivity of a site"):
        Sensitivity.from_json({"sites": [{"name": "0"}]})


def _agrees(model: nn.Module, network: nn.Module, images: torch.Tensor) -> float:
    with torch.no_grad():
        return -float((model(images) - network(images)).square().sum())


def test_the_recoverable_drop_ranks_and_is_smaller(network, images):
    before = copy.deepcopy(network.state_dict())

    def evaluate(model: nn.Module) -> float:
        return _agrees(model, network, images[16:])

    found = sensitivity(network, images[:1], evaluate, recoverable=images[:16].split(4))
    drops = [site.recoverable_drop for site in found.sites]
    assert drops == sorted(drops, key=lambda drop: drop or 0.0)
    assert all(site.cost == site.recoverable_drop for site in found.sites)
    assert sum(site.cost for site in found.sites) < sum(site.drop for site in found.sites)
    assert "reconstructed" in found.method
    nothing = sensitivity(network, images[:1], lambda _: 0.0, recoverable=images[:16].split(4))
    assert Sensitivity.from_json(json.loads(json.dumps(nothing.to_json()))) == nothing
    plain = sensitivity(network, images[:1], evaluate)
    drops = {site.name: site.drop for site in plain.sites}
    assert {site.name: site.drop for site in found.sites} == drops
    assert Sensitivity.from_json(found.to_json()) == found
    assert Sensitivity.from_json(plain.to_json()).sites[0].recoverable_drop is None
    assert all(map(torch.equal, network.state_dict().values(), before.values()))


def test_recoverable_goes_on_site_by_site(network, images, tmp_path):
    asked: list[list[str]] = []
    path = tmp_path / "sensitivity.json"

    def evaluate(model: nn.Module) -> float:
        asked.append(vp.plan_of(model).names)
        if len(asked) == stop:
            raise KeyboardInterrupt
        return _agrees(model, network, images)

    options = {"recoverable": images.split(8), "path": path}
    stop = 5  # in the second site, between its two evaluations
    with pytest.raises(KeyboardInterrupt):
        sensitivity(network, images[:1], evaluate, **options)
    resumed = sensitivity(network, images[:1], evaluate, **options)
    assert asked == [[], ["0"], ["0"], ["2"], ["2"], ["2"], ["2"], ["5"], ["5"]]
    stop = 0
    whole = sensitivity(network, images[:1], evaluate, recoverable=images.split(8))
    assert resumed == whole
    assert json.loads(path.read_text())["schema"] == 2
    with pytest.raises(VirtualPoolError, match="another method"):
        sensitivity(network, images[:1], evaluate, path=path)


def test_recoverable_needs_images_that_can_be_gone_through_again(network, images):
    with pytest.raises(VirtualPoolError, match="an iterator can be read once"):
        sensitivity(network, images[:1], evaluate, recoverable=iter([images]))
