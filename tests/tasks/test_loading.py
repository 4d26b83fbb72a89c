"""How the images of a task are loaded."""

import os

import pytest
import torch
from torch.utils.data import TensorDataset

from virtualpool.tasks.loading import loader


@pytest.mark.parametrize(("cores", "asked", "used"), [(1, None, 1), (4, None, 2), (4, 3, 3)])
def test_no_more_processes_than_cores_unless_asked(
    cores: int, asked: int | None, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(cores)}, raising=False)
    images = TensorDataset(torch.zeros(3))
    assert loader(images, 2, asked, list, training=False).num_workers == used
