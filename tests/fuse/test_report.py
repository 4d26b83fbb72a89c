import json

import pytest

from virtualpool import VirtualPoolError
from virtualpool.fuse import Interpolation, Report

REPORTS = {
    "nothing": (Report(), "0 sites fused; 0 maps are still interpolated"),
    "all": (Report(("a", "b")), "2 sites fused; 0 maps are still interpolated"),
    "some": (
        Report(("a",), (Interpolation(("b", "c"), ("add", "output")), Interpolation(("d",), ()))),
        "1 site fused; 2 maps are still interpolated\n"
        "  b, c: add, output need it in full\n"
        "  d: something needs it in full",
    ),
    "parts": (
        Report(left={"body": "has hooks", "": "cannot be traced"}),
        "0 sites fused; 0 maps are still interpolated\n"
        "  body is as it was: has hooks\n"
        "  the model is as it was: cannot be traced",
    ),
}


@pytest.mark.parametrize(("report", "text"), REPORTS.values(), ids=REPORTS)
def test_as_text_and_as_json(report, text):
    assert str(report) == text
    assert [report.summary, *(f"  {line}" for line in report.remaining)] == text.splitlines()
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_reports_of_parts_are_joined():
    one = Report(("a",), (Interpolation(("b",), ("output",)),), {"c": "has hooks"})
    assert one.joined(Report(("d",), left={"e": "is scripted"})) == Report(
        ("a", "d"), (Interpolation(("b",), ("output",)),), {"c": "has hooks", "e": "is scripted"}
    )


@pytest.mark.parametrize(
    "value", [None, [], {}, {"fused": [], "interpolations": [3], "left": {}}, {"fused": 3}]
)
def test_what_is_no_report_is_refused(value):
    with pytest.raises(VirtualPoolError, match="Not a report of fusing"):
        Report.from_json(value)
