import math
from typing import get_type_hints

import pytest
import torch
from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.recover import Training, by_distillation, by_labels
from virtualpool.recover.precision import autocast
from virtualpool.recover.settings import TrainingOptions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "lion"}, "optimizer is 'lion'; there are: sgd, adamw"),
        ({"rate_schedule": "linear"}, "rate_schedule is 'linear'; there are: paper, cosine"),
        ({"mixed_precision": "fp8"}, "mixed_precision is 'fp8'; there are: no, bf16, fp16"),
        ({"epochs": 0}, "epochs is 0; it must be a number above 0, at most 1e[+]06"),
        ({"epochs": math.inf}, "epochs is inf"),
        ({"epochs": None}, "epochs is None"),
        ({"learning_rate": 0}, "learning_rate is 0; it must be a number above 0, at most 1,000"),
        ({"learning_rate": 1e9}, "learning_rate is 1000000000.0"),
        ({"learning_rate": "0.1"}, "learning_rate is '0.1'"),
        ({"momentum": 1.0}, "momentum is 1.0; .* of 0 or more, below 1"),
        ({"weight_decay": -1e-4}, "weight_decay is -0.0001; .* of 0 or more, and finite"),
        ({"drops": (0.5, math.nan)}, "drops is nan"),
        ({"drop_steps": (0,)}, "drop_steps is 0; it must be a whole number of 1 or more"),
        ({"warm_up": 1.0}, "warm_up is 1.0"),
        ({"clip": math.inf}, "clip is inf; it must be a number above 0, and finite"),
        ({"log_steps": 2.5}, "log_steps is 2.5"),
        ({"checkpoint_seconds": math.nan}, "checkpoint_seconds is nan"),
        ({"epochs": math.nan}, "epochs is nan"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"log_steps": 0}, "log_steps is 0"),
        ({"ema": 1.0}, "ema is 1.0; it must be a number above 0, below 1"),
        ({"clip": 0.0}, "clip is 0.0"),
        (
            {"drop_steps": (3,), "rate_schedule": "cosine"},
            "to the paper's schedule, and rate_schedule is cosine",
        ),
    ],
)
@pytest.mark.parametrize(
    "make",
    [Training, lambda **it: by_labels([], **it), lambda **it: by_distillation(nn.ReLU(), [], **it)],
)
def test_settings_that_make_no_sense_are_refused_at_once(make, settings, message):
    with pytest.raises(VirtualPoolError, match=message):
        make(**settings)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, None])
@pytest.mark.parametrize("name", ["temperature", "features", "labels", "sites"])
def test_weights_of_a_distillation_that_make_no_sense_are_refused_at_once(name, value):
    with pytest.raises(VirtualPoolError, match=f"{name} is {value}"):
        by_distillation(nn.ReLU(), [], **{name: value})


def test_an_unknown_setting_is_named():
    with pytest.raises(TypeError, match="lr"):
        by_labels([], lr=0.1)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"rate_schedule": "paper"}, [1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01]),
        ({"rate_schedule": "paper", "drops": (0.5,)}, [1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1]),
        ({"rate_schedule": "paper", "drops": ()}, [1] * 10),
        ({"drop_steps": (3, 9, 20)}, [1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01]),
        (
            {"rate_schedule": "cosine", "warm_up": 0},
            [(1 + math.cos(math.pi * (step + 0.5) / 10)) / 2 for step in range(10)],
        ),
    ],
)
def test_schedules(settings, expected):
    training = Training(**settings)
    found = [training.factor(step, 10) for step in range(10)]
    assert found == pytest.approx(expected)


def test_only_weights_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = Training(weight_decay=0.3).make_optimizer(model, 0.1)
    decays = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert decays == {id(p): 0.3 if p.ndim > 1 else 0.0 for p in model.parameters()}


@pytest.mark.parametrize(
    ("precision", "message"),
    [("fp16", 'needs a GPU; on a CPU use "bf16"'), ("int8", "no mixed precision 'int8'")],
)
def test_a_precision_that_the_device_has_not_is_refused(precision, message):
    with pytest.raises(VirtualPoolError, match=message):
        autocast(torch.device("cpu"), precision)


def test_no_precision_switches_an_outer_autocast_off():
    ones = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16), autocast(torch.device("cpu"), "no"):
        assert (ones @ ones).dtype == torch.float32


def test_the_options_are_the_fields():
    assert get_type_hints(TrainingOptions) == get_type_hints(Training)
