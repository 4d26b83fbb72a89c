"""CUDA graphs without a GPU: a stand-in for the part of PyTorch that needs one."""

import contextlib

import pytest
import torch
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.measure import graphs


class Stream:
    def __init__(self, *_):
        pass

    def wait_stream(self, other):
        assert isinstance(other, Stream)


class Graph:
    """Notes when it is replayed."""

    def __init__(self):
        self.replays = 0

    def replay(self):
        self.replays += 1


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x + self.calls


@pytest.fixture
def captures(monkeypatch):
    """The graphs that were captured."""
    found = []

    @contextlib.contextmanager
    def capture(graph, stream):
        found.append(graph)
        yield

    monkeypatch.setattr(graphs, "device_of", lambda _: torch.device("cuda:0"))
    for name, stand_in in {
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda _: contextlib.nullcontext(),
        "CUDAGraph": Graph,
        "graph": capture,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return found


def test_the_graph_is_captured_once_and_replayed(captures):
    model, image = Counting(), torch.zeros(1)
    run = graphs.captured(model, image, "net")
    # What runs first chooses kernels and takes memory; the last call is captured.
    assert model.calls == 4
    assert run() is run()
    assert run().item() == 4
    assert model.calls == 4
    assert [graph.replays for graph in captures] == [3]


def test_a_forward_that_waits_for_the_gpu(captures):
    class Waiting(Counting):
        def forward(self, x):
            if captures:
                raise RuntimeError("operation not permitted when stream is capturing\nmore")
            return x

    with pytest.raises(VirtualPoolError, match=r"net cannot be captured.*is capturing\): its"):
        graphs.captured(Waiting(), torch.zeros(1), "net")


def test_a_model_on_the_cpu():
    with pytest.raises(VirtualPoolError, match="net is on cpu, and CUDA graphs need"):
        graphs.captured(nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 4, 4), "net")
