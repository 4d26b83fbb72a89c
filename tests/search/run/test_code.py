import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from virtualpool.recover import by_distillation, by_labels, by_recalibration
from virtualpool.search.run.code import parts_of
from virtualpool.tasks.classification import evaluator

PRELUDE = """
import functools
from dataclasses import dataclass
import torch
RATE = 0.1
def helper(model, factor=2):
    return model * factor
class Loop:
    steps = 3
    def __init__(self, rate):
        self.rate = rate
        self.calls = 0
        self.seen = []
    def step(self, model):
        return model * self.rate
    def __call__(self, model, round):
        self.calls += 1
        self.seen.append(round)
        return self.step(model)
@dataclass(frozen=True)
class Settings:
    rate: float = 0.1
def made_by(settings):
    return lambda model, round: settings.rate
def with_list(numbers):
    return lambda model, round: numbers[0]
@torch.no_grad()
def decorated(model, round):
    return model * 2
def finetune(model, round, times=4, *, last=5):
    for _ in range(times):
        helper(model)
    return {"a", "b", "c"} & {round} or RATE * last
kinds = {
    "function": finetune,
    "lambda": lambda model, round: model + 1,
    "partial": functools.partial(finetune, times=6),
    "object": Loop(0.1),
    "method": Loop(0.1).step,
    "settings": made_by(Settings()),
    "list": with_list([0.1, 0.2]),
    "decorated": decorated,
}
"""


def made(kind: str, old: str = "", new: str = ""):
    text = PRELUDE.replace(old, new) if old else PRELUDE
    assert (text != PRELUDE) == bool(old)
    namespace: dict[str, Any] = {"__name__": "users"}
    exec(text, namespace)
    return parts_of(namespace["kinds"][kind]).compared


def differing(one, other):
    return {name for name in one | other if one.get(name) != other.get(name)}


@pytest.mark.parametrize(
    ("kind", "change", "named"),
    [
        ("function", ("range(times)", "range(times - 1)"), {"code"}),
        ("function", ("times=4", "times=3"), {"times"}),
        ("function", ("last=5", "last=6"), {"last"}),
        ("function", ("RATE = 0.1", "RATE = 0.2"), {"RATE"}),
        ("function", ("model * factor", "model + factor"), {"helper"}),
        ("function", ("factor=2", "factor=3"), {"helper.factor"}),
        ("function", ('{"a", "b", "c"}', '{"a", "b", "d"}'), {"code"}),
        ("lambda", ("model + 1", "model + 2"), {"code"}),
        ("partial", ("times=6", "times=7"), {"times"}),
        ("partial", ("RATE = 0.1", "RATE = 0.2"), {"RATE"}),
        ("object", ('"object": Loop(0.1)', '"object": Loop(0.2)'), {"rate"}),
        ("object", ("steps = 3", "steps = 4"), {"class.steps"}),
        ("object", ("model * self.rate", "model + self.rate"), {"class.step"}),
        ("method", ("model * self.rate", "model + self.rate"), {"code"}),
        ("method", ("Loop(0.1).step", "Loop(0.2).step"), {"self.rate"}),
        (
            "settings",
            ("made_by(Settings())", "made_by(Settings(0.2))"),
            {"settings.rate"},
        ),
        ("list", ("with_list([0.1", "with_list([0.3"), {"numbers"}),
        ("decorated", ("model * 2", "model * 3"), {"code"}),
    ],
)
def test_what_changes_is_named(kind, change, named):
    assert differing(made(kind), made(kind, *change)) == named


@pytest.mark.parametrize(
    "kind", ["function", "lambda", "partial", "object", "method", "settings", "list", "decorated"]
)
def test_the_same_is_the_same_in_every_process(kind):
    assert made(kind) == made(kind, "\nkinds", "\n\n\n# a remark\nkinds")
    if kind != "function":
        return
    # Sets have another order in another process.
    program = f"__name__ = 'users'\n{PRELUDE}\nimport json\n"
    program += "from virtualpool.search.run.code import parts_of\n"
    program += f"print(json.dumps(parts_of(kinds[{kind!r}]).compared))"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert json.loads(ended.stdout) == made(kind)


def test_what_a_callable_changes_itself_is_not_compared():
    calls, history = 0, []

    def finetune(model, round):
        nonlocal calls
        calls += 1
        history.append(round)

    before = parts_of(finetune)
    finetune(None, 3)
    assert parts_of(finetune).compared == before.compared
    assert before.left == ["history (list)"]


def test_a_function_that_calls_itself():
    def again(times):
        return again(times - 1) if times else 0

    assert list(parts_of(again).compared) == ["code"]


@dataclass
class Data:
    images: torch.Tensor


BATCHES = [(torch.zeros(2, 3, 8, 8), torch.zeros(2).long())] * 9


@pytest.mark.parametrize(
    ("make", "change", "named"),
    [
        (functools.partial(by_labels, BATCHES), {"epochs": 3}, {"training.epochs"}),
        (functools.partial(by_labels, BATCHES), {"ema": 0.9}, {"training.ema"}),
        (functools.partial(by_labels, BATCHES), {"log_steps": 3}, set()),
        (functools.partial(by_distillation, nn.ReLU(), BATCHES), {"sites": 3}, {"objective.sites"}),
        (functools.partial(by_recalibration, BATCHES), {"batch_count": 3}, {"batch_count"}),
        (functools.partial(evaluator, BATCHES), {"mixed_precision": "bf16"}, {"mixed_precision"}),
    ],
)
def test_the_librarys_own(make, change, named):
    one, other = parts_of(make()), parts_of(make(**change))
    assert differing(one.compared, other.compared) == named
    assert "batches (list)" in one.left


def test_a_users_loss_inside_of_the_librarys():
    one, other = (by_labels(BATCHES, loss=loss) for loss in (lambda m, b: m, lambda m, b: b))
    assert differing(parts_of(one).compared, parts_of(other).compared) == {"loss"}


def test_what_cannot_be_read_is_said():
    data, network = Data(torch.zeros(9)), nn.ReLU()
    found = parts_of(lambda model: (data, network, len, torch.relu))
    assert found.left == ["data.images (Tensor)", "network (ReLU)"]
    assert parts_of(len).left == ["code (builtin_function_or_method)"]
    assert parts_of(None).compared == {}
