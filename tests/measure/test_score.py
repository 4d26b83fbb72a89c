import base64
import copy
import json
import math
import pickle
import statistics
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.measure.score import Score, judge
from virtualpool.measure.unit import Unit

RIGHT = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
LESS = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])


def test_score_of_samples_is_their_mean_with_its_standard_error():
    score = Score.of(RIGHT.bool(), metrics={"top5": 0.9})
    expected = statistics.stdev(RIGHT.tolist()) / math.sqrt(6)
    assert score == pytest.approx(4 / 6)
    assert score.standard_error == pytest.approx(expected)
    assert score.samples == 6
    assert score.metrics == {"top5": 0.9}


@pytest.mark.parametrize("value", [0.5, torch.tensor(0.5), 1])
def test_score_of_a_number_knows_nothing_else(value):
    score = Score.of(value)
    assert score == float(value)
    assert (score.standard_error, score.samples, score.per_sample) == (None, None, None)
    assert Score.of(score) is score


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_score_of_samples_of_any_kind(kind):
    score = Score.of(kind([1, 0, 1, 1]))
    assert (float(score), score.samples) == (0.75, 4)


@pytest.mark.parametrize("value", ["0.5", [[1.0], [0.0]], None, torch.rand(3, 1), ["a"], [1, [2]]])
def test_scores_of_no_use_are_refused(value):
    with pytest.raises(VirtualPoolError, match="give one number for all samples"):
        Score.of(value)


def test_score_of_one_sample_has_no_standard_error():
    assert Score.of(torch.tensor([0.5])).standard_error is None


DIFFERENCES = {
    "same samples": (
        Score.of(RIGHT),
        Score.of(LESS),
        statistics.stdev([0, 1, 0, 0, 0, 1]) / math.sqrt(6),
    ),
    "other samples": (
        Score.of(RIGHT),
        Score.of(LESS[:4]),
        math.hypot(
            statistics.stdev(RIGHT.tolist()) / math.sqrt(6), statistics.stdev([1, 0, 0, 1]) / 2
        ),
    ),
    "both errors": (Score(0.9, standard_error=0.03), Score(0.8, standard_error=0.04), 0.05),
    "one error": (Score(0.9, standard_error=0.03), Score(0.8), None),
    "a plain float": (Score.of(RIGHT), 0.5, None),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_difference(case):
    one, other, error = DIFFERENCES[case]
    difference = one - other
    assert isinstance(difference, Score)
    assert difference == pytest.approx(float(one) - float(other))
    assert difference.standard_error == (None if error is None else pytest.approx(error))


def test_difference_of_one_point_is_one_point():
    assert 0.91 - 0.90 > 0.01
    assert Score(0.91) - Score(0.90) == 0.01


@pytest.mark.parametrize(
    "score",
    [
        Score(0.5, unit=Unit("mAP", percent=False, decimals=3)),
        Score.of(RIGHT, {"top5": 0.9}, Unit("accuracy")),
        Score.of(torch.arange(50.0) % 7),
        Score(0.1, samples=9),
    ],
)
@pytest.mark.parametrize(
    "again",
    [
        lambda score: Score.from_json(json.loads(json.dumps(score.to_json()))),
        lambda score: pickle.loads(pickle.dumps(score)),
        copy.deepcopy,
    ],
    ids=["json", "pickle", "deepcopy"],
)
def test_score_is_the_same_again(score, again):
    other = again(score)
    assert other == score
    assert (other.standard_error, other.samples) == (score.standard_error, score.samples)
    assert (other.metrics, other.unit) == (score.metrics, score.unit)
    if score.per_sample is None:
        assert other.per_sample is None
    else:
        torch.testing.assert_close(other.per_sample, score.per_sample, rtol=0, atol=0)


def test_a_score_from_before_there_were_units_has_none():
    value = Score(0.5, unit=Unit("accuracy")).to_json()
    del value["unit"]
    assert Score.from_json(value).unit is None


def test_summary_forgets_the_samples_only():
    summary = Score.of(RIGHT, {"top5": 0.9}, Unit("accuracy")).summary
    assert summary.unit == Unit("accuracy")
    assert summary.per_sample is None
    assert "per_sample" not in summary.to_json()
    assert (summary.samples, summary.metrics) == (6, {"top5": 0.9})
    assert summary.standard_error == Score.of(RIGHT).standard_error


def test_score_is_a_float():
    score = Score.of(RIGHT)
    assert f"{score:.2f}" == "0.67"
    assert json.dumps({"score": Score(0.25)}) == '{"score": 0.25}'
    assert str(score) == "0.6667 ± 0.2108"
    assert repr(score) == "Score(0.6667 ± 0.2108, 6 samples)"
    assert max(Score(0.1), Score(0.2)) == 0.2


def test_judge_evaluates_in_eval_mode_without_gradients_and_restores_flags():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    model[1].eval()
    seen = []

    def evaluate(model: nn.Module) -> float:
        flags = [module.training for module in model.modules()]
        seen.append((flags, torch.is_grad_enabled()))
        return 0.5

    assert judge(evaluate, model, "it") == 0.5
    assert seen == [([False, False, False], False)]
    assert (model.training, model[0].training, model[1].training) == (True, True, False)


@pytest.mark.parametrize("value", [math.nan, math.inf, torch.tensor([1.0, math.nan])])
def test_judge_refuses_what_is_not_finite(value):
    with pytest.raises(VirtualPoolError, match=r"features\.3 pooled is (nan|inf)"):
        judge(lambda _: value, nn.Identity(), "the model with features.3 pooled")


@pytest.mark.parametrize("value", [None, "much", {"top1": 0.5}, torch.zeros(0)])
def test_judge_refuses_what_is_no_number(value):
    with pytest.raises(VirtualPoolError, match=r"for the model of round-02|is nan"):
        judge(lambda _: value, nn.Identity(), "the model of round-02")


@pytest.mark.parametrize("evaluate", ["accuracy", None, 0.5])
def test_judge_refuses_what_is_no_function(evaluate):
    with pytest.raises(VirtualPoolError, match=r"evaluate is a .*; give a function of a model"):
        judge(evaluate, nn.Identity(), "the model")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_is_refused_by_name(value):
    score = Score.of(0.5, metrics={"top1": 0.5, "top5": value})
    with pytest.raises(VirtualPoolError, match=r"metric top5 of round-02 is -?(nan|inf)"):
        judge(lambda _: score, nn.Identity(), "round-02")


@pytest.mark.parametrize("samples", [0, 3, 5, 10**15, None])
def test_scores_of_another_number_of_samples_are_refused(samples):
    value = Score.of(torch.ones(4)).to_json() | {"samples": samples}
    with pytest.raises(VirtualPoolError, match="Not the scores of samples"):
        Score.from_json(value)


def test_a_small_file_does_not_take_much_memory():
    bomb = base64.b64encode(zlib.compress(bytes(1 << 24))).decode()
    with pytest.raises(VirtualPoolError, match="not 4 numbers"):
        Score.from_json(Score.of(torch.ones(4)).to_json() | {"per_sample": bomb})
