"""Convolutions that read an interpolated map, or are asked for at even positions alone."""

import itertools

import pytest
import torch
from tests.fuse.checks import fused_alike, images
from torch import nn

from virtualpool.fuse.choice import ways
from virtualpool.fuse.rules import convolution

# The options of a convolution, and whether it reads the reduced map of an interpolated one.
CASES = [
    ({"kernel_size": 1}, True),
    ({"kernel_size": 1, "stride": 2}, True),
    ({"kernel_size": 1, "stride": 3}, False),
    ({"kernel_size": 1, "stride": 2, "padding": 1}, True),
    ({"kernel_size": 1, "padding": 1}, True),
    ({"kernel_size": 3, "padding": 1}, True),
    ({"kernel_size": 3}, True),
    ({"kernel_size": 2}, True),
    ({"kernel_size": (5, 1), "padding": (2, 1)}, True),
    ({"kernel_size": 2, "padding": 3}, False),
    ({"kernel_size": 3, "padding": 2, "dilation": 2}, True),
    ({"kernel_size": 3, "padding": 1, "groups": 2, "bias": False}, True),
    ({"kernel_size": 3, "stride": 2, "padding": 1}, True),
    ({"kernel_size": 3, "stride": 2}, True),
    ({"kernel_size": 3, "stride": 4, "padding": 1}, True),
    ({"kernel_size": 3, "stride": (2, 4), "padding": (0, 1)}, True),
    ({"kernel_size": 3, "stride": (1, 2), "padding": 1}, False),
    ({"kernel_size": 3, "stride": 3, "padding": 1}, False),
    ({"kernel_size": 2, "stride": 2}, True),
    ({"kernel_size": 2, "stride": 2, "padding": 1}, True),
    ({"kernel_size": 4, "stride": 4}, True),
    ({"kernel_size": 5, "stride": 2, "padding": 2}, True),
    ({"kernel_size": 7, "stride": 2, "padding": 3}, True),
    ({"kernel_size": (1, 7), "stride": 2, "padding": (0, 3)}, True),
    ({"kernel_size": (6, 1), "stride": 2, "padding": (2, 0)}, True),
    ({"kernel_size": 3, "stride": 2, "padding": 2, "dilation": 2}, True),
    ({"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2}, True),
    ({"kernel_size": 3, "stride": 2, "padding": 3, "dilation": 3}, True),
    ({"kernel_size": 3, "stride": 2, "padding": (1, 2), "dilation": (1, 2)}, True),
    ({"kernel_size": 3, "stride": 2, "padding": 1, "groups": 2}, True),
    ({"kernel_size": 3, "stride": 2, "padding": 1, "groups": 4, "bias": False}, True),
    ({"kernel_size": 3, "stride": 2, "padding": "valid"}, True),
    ({"kernel_size": 3, "padding": "same"}, True),
    ({"kernel_size": 3, "stride": 2, "padding": 1, "padding_mode": "reflect"}, False),
    ({"kernel_size": 3, "stride": 2, "padding": 1, "padding_mode": "circular"}, False),
    ({"kernel_size": 3, "stride": 2, "padding": 1, "padding_mode": "replicate"}, False),
]
OTHERS = [images(*size) for size in itertools.product((16, 17), (20, 21))]


@pytest.fixture(params=[1, 1000], ids=["by strips", "by more cells"])
def border(request, monkeypatch):
    monkeypatch.setattr(convolution, "_LARGE", request.param)


def chain(options) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, **options)]
    return nn.Sequential(*layers, nn.ReLU()).double().eval()


@pytest.mark.usefixtures("border")
@pytest.mark.parametrize(("options", "is_fused"), CASES, ids=str)
def test_of_an_interpolated_map(options, is_fused):
    report = fused_alike(chain(options), images(20, 21), ["0"], others=OTHERS)
    # A kernel of one gives an interpolated map, which the output asks for in full.
    passes_on = options == {"kernel_size": 1}
    assert report.fused == (("0",) if is_fused and not passes_on else ())


@pytest.mark.usefixtures("border")
@pytest.mark.parametrize(("options", "_"), CASES, ids=str)
def test_both_pooled(options, _):
    report = fused_alike(chain(options), images(20, 21), others=OTHERS)
    # With its stride doubled it is even, so padding with zeros reads the reduced map.
    assert ("0" in report.fused) == (options.get("padding_mode", "zeros") == "zeros")


@pytest.mark.parametrize(("options", "_"), CASES, ids=str)
def test_asked_for_at_even_positions(options, _):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, **(options | {"groups": 1})), nn.Tanh(), nn.Conv2d(4, 4, 1)]
    model = nn.Sequential(*layers).double().eval()
    fused_alike(model, images(20, 21), ["2"], others=OTHERS)


def test_of_two_ways_the_much_faster_is_taken_and_told(monkeypatch):
    for taken, other in (("full", "transposed"), ("transposed", "full")):
        times = {taken: 1.0, other: 2.0}
        monkeypatch.setattr(ways, "costs", lambda *_, times=times: times)
        report = fused_alike(chain({"kernel_size": 3, "padding": 1}), images(), ["0"])
        assert report.fused == (("0",) if taken == "transposed" else ())
        assert [str(each) for each in report.choices] == [f"2: {taken} (1 ms; {other}: 2 ms)"]
        assert str(report).endswith(str(report.choices[0]))


def test_a_border_is_mended_where_that_is_not_slower_than_the_full_map(monkeypatch):
    options = {"kernel_size": 5, "stride": 2, "padding": 2, "groups": 4}
    for taken, other in (("full", "mended"), ("mended", "full")):
        times = {taken: 1.0, other: 2.0}
        monkeypatch.setattr(ways, "costs", lambda *_, times=times: times)
        report = fused_alike(chain(options), images(), ["0"])
        assert report.fused == (("0",) if taken == "mended" else ())
        assert [str(each) for each in report.choices] == [f"2: {taken} (1 ms; {other}: 2 ms)"]


class Both(nn.Module):
    """A value that is wanted in full and at even positions, and is an output, too."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Conv2d(3, 4, 3, padding=1)
        self.even, self.full = nn.Conv2d(4, 4, 1, 2), nn.Conv2d(4, 4, 3, padding=1)
        self.folded = nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        value = self.site(x).relu()
        return self.even(value), self.full(value), self.folded(value), value


@pytest.mark.parametrize("names", ["all", ["site"], ["even"], ["full"], ["site", "full"]])
def test_both_questions_and_an_output(names):
    report = fused_alike(Both().double().eval(), images(), names, others=[images(9, 9)])
    assert "site" not in report.fused
