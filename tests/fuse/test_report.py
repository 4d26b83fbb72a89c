"""The report of a fused model, in words and as JSON."""

import json
import logging

import pytest
import torch
from torch import nn
from torch.nn import functional

import virtualpool as vp
from tests.fuse.checks import images, pooled_and_fused
from virtualpool.fuse import Choice, Interpolation, Report, report_of

FULL = Report(
    ("a", "b"),
    (Interpolation(("c", "d"), ("output", "add in body")), Interpolation(("e",), ())),
    {"": "is a mystery", "head": "has hooks"},
    (Choice("tail", "fast", {"slow": 20.0, "fast": 12.34}),),
)


@pytest.mark.parametrize(
    ("report", "lines"),
    [
        (Report(), ["0 sites fused; 0 maps are still interpolated"]),
        (Report(("a",)), ["1 site fused; 0 maps are still interpolated"]),
        (
            FULL,
            [
                "2 sites fused; 2 maps are still interpolated",
                "  c, d: output, add in body need it in full",
                "  e: something needs it in full",
                "  the model is as it was: is a mystery",
                "  head is as it was: has hooks",
                "  tail: fast (12.3 ms; slow: 20 ms)",
            ],
        ),
    ],
)
def test_in_words(report, lines):
    assert str(report).splitlines() == lines


def test_as_json():
    value = json.loads(json.dumps(FULL.to_json()))
    assert value == {
        "fused": ["a", "b"],
        "interpolations": [
            {"sites": ["c", "d"], "asked_by": ["output", "add in body"]},
            {"sites": ["e"], "asked_by": []},
        ],
        "left": {"": "is a mystery", "head": "has hooks"},
        "choices": [
            {"operation": "tail", "taken": "fast", "milliseconds": {"slow": 20.0, "fast": 12.34}}
        ],
    }


def test_two_parts_are_joined():
    joined = FULL.joined(Report(("x",), (Interpolation(("y",), ("z",)),), {"part": "why"}))
    assert joined.fused == ("a", "b", "x")
    assert [each.sites for each in joined.interpolations] == [("c", "d"), ("e",), ("y",)]
    assert list(joined.left) == ["", "head", "part"]


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.third, self.other = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1, bias=False)
        self.norm = nn.GroupNorm(1, 4)

    def forward(self, x):
        value = functional.relu(self.first(x))
        one = torch.cumsum(self.second(value), 2) + self.norm(self.other(value))
        return self.third(one).flip(2)


class Head(nn.Module):
    """Its body is a part by itself: the head cannot be traced, and has a site, too."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Body()
        self.last = nn.Sequential(nn.Conv2d(4, 2, 3, padding=1), nn.Tanh())

    def forward(self, x):
        return self.last(self.body(x)) if x.sum() > 0 else x


@pytest.mark.parametrize(("model", "prefix"), [(Body(), ""), (Head(), "body.")])
def test_it_names_sites_and_who_asks(model, prefix):
    _, fused, report = pooled_and_fused(model.double().eval(), images())
    assert report is report_of(fused)
    assert prefix + "first" in report.fused
    expected = {
        (prefix + "second",): ("cumsum",),
        (prefix + "third",): ("flip",),
        (prefix + "other",): ("add",),
    }
    if prefix:
        expected["last.0",] = ("output",)
    assert {each.sites: each.asked_by for each in report.interpolations} == expected


def test_it_is_logged(caplog):
    caplog.set_level(logging.INFO, "virtualpool")
    _, _, report = pooled_and_fused(Body().double().eval(), images())
    assert caplog.messages[-1] == "\n  ".join(report.brief)
    assert report.brief[-1] == str(report).split("\n")[-1].strip()


def test_of_many_maps_a_log_has_the_first():
    many = Report(("a",), tuple(Interpolation((f"{number}",), ("add",)) for number in range(9)))
    assert [*map(str, many.brief)] == [
        "1 site fused; 9 maps are still interpolated",
        *(f"{number}: add needs it in full" for number in range(3)),
        "and 6 more, which virtualpool.summary(model) lists",
    ]


def test_a_model_that_is_not_fused_has_none():
    model = Body().double().eval()
    assert report_of(model) is None
    assert report_of(vp.apply(model, images(), "all")) is None
