"""A pooled model in its usual wrappers: DistributedDataParallel and torch.compile."""

import copy
import os
import socket
import subprocess
import sys
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from virtualpool import apply
from virtualpool.measure import can_compile

STEP = """
import sys

import torch
from safetensors.torch import save_file
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from virtualpool import apply

torch.set_num_threads(1)
torch.manual_seed(0)
images, labels = torch.randn(8, 3, 13, 12), torch.randint(4, (8,))
network = nn.Sequential(
    nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(),
    nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
)
pooled = apply(network, images[:1], image_scale=0.75).train()


def step(model, images, labels):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


folder, rank = sys.argv[1], sys.argv[2]
if rank == "alone":
    step(pooled, images, labels)
else:
    distributed.init_process_group("gloo")
    mine = slice(int(rank), None, 2)
    step(DistributedDataParallel(pooled), images[mine], labels[mine])
    distributed.barrier()
    distributed.destroy_process_group()
save_file(pooled.state_dict(), f"{folder}/{rank}.safetensors")
"""


def start(folder: object, rank: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", STEP, str(folder), rank],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs gloo")
def test_two_processes_take_the_steps_of_one(tmp_path, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    processes = [start(tmp_path, rank, RANK=rank, **together) for rank in "01"]
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path), "alone"])
    exec(STEP, {})
    errors = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    alone, one, other = (
        load_file(tmp_path / f"{rank}.safetensors") for rank in ("alone", "0", "1")
    )
    for name, value in alone.items():
        torch.testing.assert_close(one[name], value, msg=name)
        assert torch.equal(one[name], other[name]), name


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.SiLU()
    )


# Inductor takes seconds for a graph; its training graphs come by way of aot_eager.
@pytest.mark.parametrize(("backend", "training"), [("inductor", False), ("aot_eager", True)])
def test_it_compiles_without_a_graph_break(backend, training):
    if backend == "inductor" and not can_compile():
        pytest.skip("needs a C++ compiler")
    images = torch.randn(2, 3, 13, 12, dtype=torch.float64)
    pooled = apply(network().double(), images, "all").train(training)
    eager = copy.deepcopy(pooled)
    torch._dynamo.reset()
    compiled: Any = torch.compile(pooled, backend=backend, fullgraph=True)
    with torch.set_grad_enabled(training):
        found, expected = compiled(images), eager(images)
    torch.testing.assert_close(found, expected)
    if training:
        found.square().sum().backward()
        expected.square().sum().backward()
        for name, parameter in eager.named_parameters():
            torch.testing.assert_close(pooled.get_parameter(name).grad, parameter.grad, msg=name)
        torch.testing.assert_close(pooled.state_dict(), eager.state_dict())
