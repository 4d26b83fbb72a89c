"""Checkpoints of everyday kinds, as training loops and libraries write them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.cli.weights import are_in_file, with_weights


def network(value: float) -> nn.Module:
    module = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    return module


STATE = network(2).state_dict()
EMA = network(3).state_dict()


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in STATE.items()}


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (STATE, ""),
        ({"model": STATE, "epoch": 3, "optimizer": {"lr": 0.1, "state": {0: {}}}}, ""),
        ({"state_dict": prefixed("model.") | {"loss.weight": torch.ones(2)}, "epoch": 1}, ""),
        (prefixed("module."), ""),
        ({"state_dict": prefixed("module._orig_mod.")}, ""),
        ({"model": STATE, "model_ema": EMA}, "#model"),
        ({"ema": {"module": STATE}, "model": EMA}, "#ema.module"),
        ({"model": STATE, "teacher": {"weight": torch.ones(2)}}, ""),
    ],
)
def test_the_weights_of_a_checkpoint_are_found(tmp_path: Path, content: Any, key: str) -> None:
    torch.save(content, tmp_path / "last.ckpt")
    loaded = with_weights(network(0), f"{tmp_path}/last.ckpt{key}")
    assert {float(parameter.detach().mean()) for parameter in loaded.parameters()} == {2.0}


@pytest.mark.parametrize(
    ("content", "key", "said"),
    [
        ({"model": STATE, "model_ema": EMA}, "", "several weights fit: 'model', 'model_ema'"),
        ({"model": STATE}, "#ema", "no weights under 'ema'; there are 'model'"),
        (STATE, "#model", "the file is one state dict, without keys"),
        ({"epoch": 3}, "", "holds no weights, but a mapping of 'epoch'"),
        ([torch.zeros(1)], "", "holds no weights, but a list"),
        ({"model": {"fc.weight": torch.zeros(1)}}, "", "model: fc.weight in the file alone; 0.we"),
        (
            STATE | {"0.bias": torch.zeros(4)},
            "",
            r"0.bias is \(4,\) in the file and \(2,\) in the model",
        ),
        (network(2), "", "holds a pickled torch.nn.modules.container.Sequential"),
        ({"args": SimpleNamespace()}, "", "holds a pickled types.SimpleNamespace"),
    ],
)
def test_a_checkpoint_without_the_weights_says_what_it_has(
    tmp_path: Path, content: Any, key: str, said: str
) -> None:
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(VirtualPoolError, match=said) as caught:
        with_weights(network(0), f"{tmp_path}/last.pt{key}")
    assert "last.pt: " in str(caught.value)


@pytest.mark.parametrize("name", ["a.pt", "a.ckpt#ema", "b/pytorch_model.bin", "best.pth.tar"])
def test_files_are_known_by_their_suffix(name: str) -> None:
    assert are_in_file(name)
    assert not are_in_file("IMAGENET1K_V2")
