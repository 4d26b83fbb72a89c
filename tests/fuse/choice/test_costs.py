"""Times that are taken once, and the file that remembers them."""

import json
from pathlib import Path

import pytest
import torch

from virtualpool.fuse.choice import costs as module
from virtualpool.fuse.choice.costs import costs

CPU = torch.device("cpu")


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """How often something was timed, in a process that knows nothing yet."""
    monkeypatch.setenv("VIRTUALPOOL_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_known", {})
    counted: list[str] = []

    def timed(ways, device):
        counted.extend(ways)
        return {name: float(len(name)) for name in ways}

    monkeypatch.setattr(module, "timed", timed)
    return counted


WAYS = {"one": lambda: None, "other": lambda: None}


def test_once(calls):
    for _ in range(3):
        assert costs("a sum", WAYS, CPU) == {"one": 3.0, "other": 5.0}
    assert calls == ["one", "other"]


def test_another_process_remembers(calls, monkeypatch):
    costs("a sum", WAYS, CPU)
    monkeypatch.setattr(module, "_known", {})
    assert costs("a sum", WAYS, CPU) == {"one": 3.0, "other": 5.0}
    assert calls == ["one", "other"]


@pytest.mark.parametrize("operation", ["a product", "a sum"])
def test_another_operation_or_number_of_threads_is_timed_anew(calls, operation, monkeypatch):
    costs("a sum", WAYS, CPU)
    if operation == "a sum":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    costs(operation, WAYS, CPU)
    assert calls == ["one", "other"] * 2


def test_another_set_of_ways_is_timed_anew(calls):
    costs("a sum", WAYS, CPU)
    costs("a sum", {"third": lambda: None}, CPU)
    assert calls == ["one", "other", "third"]


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 3}', '{"a": {"b": "c"}}'])
def test_a_broken_file_is_replaced(calls, tmp_path, text):
    path: Path = tmp_path / "costs.json"
    path.write_text(text)
    costs("a sum", WAYS, CPU)
    (times,) = json.loads(path.read_text()).values()
    assert times == {"one": 3.0, "other": 5.0}


def test_where_nothing_can_be_written(calls, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VIRTUALPOOL_CACHE", str(tmp_path / "file"))
    assert costs("a sum", WAYS, CPU) == {"one": 3.0, "other": 5.0}


def test_each_way_is_run_by_turns():
    order: list[str] = []
    times = module.timed({name: lambda name=name: order.append(name) for name in "ab"}, CPU)
    assert order == ["a", "b"] * (len(order) // 2)
    assert len(order) > 4
    assert times.keys() == {"a", "b"}
    assert all(milliseconds >= 0 for milliseconds in times.values())
