import json
from pathlib import Path
from typing import Any

import pytest
import typer

from virtualpool import VirtualPoolError
from virtualpool.cli.rounds import length, numbers, one_or_each, schedule
from virtualpool.search import ByTimeSaved, Grouped, Listed, PerLayer, Schedule

NOTHING: dict[str, Any] = {
    "rounds": None,
    "sizes": None,
    "thresholds": None,
    "per_layer": False,
    "by_time": False,
    "rounds_file": None,
}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Grouped(count=3)),
        ({"rounds": 5}, Grouped(count=5)),
        ({"sizes": "3,2"}, Grouped(sizes=(3, 2))),
        ({"thresholds": ".01,.05"}, Grouped(thresholds=(0.01, 0.05))),
        ({"per_layer": True}, PerLayer()),
        ({"by_time": True}, ByTimeSaved(count=3)),
        ({"by_time": True, "rounds": 2}, ByTimeSaved(count=2)),
        ({"by_time": True, "sizes": "4,1"}, ByTimeSaved(sizes=(4, 1))),
    ],
)
def test_the_ways_to_make_rounds(options: dict[str, Any], expected: Schedule) -> None:
    assert schedule(**NOTHING | options) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"rounds": 3, "sizes": "3,3"},
        {"thresholds": ".1", "per_layer": True},
        {"by_time": True, "thresholds": ".1"},
        {"by_time": True, "rounds_file": "rounds.json"},
    ],
)
def test_two_ways_at_once_are_wrong_usage(options: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter, match="cannot be given together"):
        schedule(**NOTHING | options)


def from_file(name: str) -> Schedule:
    options: dict[str, Any] = {**NOTHING, "rounds_file": name}
    return schedule(**options)


ROUNDS = [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (ROUNDS, ""),
        ({"rounds": ROUNDS}, ""),
        ({"vgg16": {"rounds": ROUNDS}}, ":vgg16"),
        ({"v": ROUNDS}, ":v"),
    ],
)
def test_rounds_from_a_file(tmp_path: Path, content: Any, key: str) -> None:
    path = tmp_path / "rounds.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert from_file(f"{path}{key}") == Listed((("a", "b"), ("c",)))


@pytest.mark.parametrize(
    ("content", "key", "said"),
    [
        ('{"vgg16": {}, "resnet50": {}}', ":vgg", "no key 'vgg'; its keys: vgg16, resnet50"),
        ('[["a"]]', ":vgg16", "its keys: none, it holds a list"),
        ('{"vgg16": {"rounds": [["a"]]}}', "", "give one as FILE:KEY; there are: vgg16"),
        ('{"vgg16": {}}', ":vgg16", "expected a list of rounds"),
        ('["a", "b"]', "", "expected a list of rounds"),
        ('[["a"], ["a"]]', "", "in two rounds"),
        ("[", "", "not a JSON file"),
        (None, "", "cannot be read"),
        (None, ":vgg16", "cannot be read"),
    ],
)
def test_files_without_rounds_are_refused(
    tmp_path: Path, content: str | None, key: str, said: str
) -> None:
    path = tmp_path / "rounds.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(VirtualPoolError, match=said):
        from_file(f"{path}{key}")


def test_the_length_of_rounds() -> None:
    assert length(None, None) == {"epochs": 5.0}
    assert length("0.5", None) == {"epochs": 0.5}
    assert length(None, "50000,9e4") == {"training_steps": [50000, 90000]}
    for epochs, steps, said in (
        ("1", "100", "--epochs and --steps cannot be given together"),
        (None, "1.5", "--steps 1.5: whole numbers"),
    ):
        with pytest.raises(typer.BadParameter, match=said):
            length(epochs, steps)


def test_numbers() -> None:
    assert one_or_each("0.1", "--epochs") == 0.1
    assert one_or_each("5,10", "--epochs") == [5.0, 10.0]
    for wrong in ("", "a", "1,", "1;2"):
        with pytest.raises(typer.BadParameter, match=r"--epochs .*numbers with commas"):
            numbers(wrong, "--epochs")
