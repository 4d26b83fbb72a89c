"""The commands of recipes/imagenet/README.md, to the letter but for a tiny network and images."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from accelerate.commands.launch import launch_command_parser
from PIL import Image
from torch import nn
from torchvision.models import resnet50, vgg16
from typer.testing import CliRunner

from virtualpool.cli import app
from virtualpool.search import read_records
from virtualpool.search.sensitivity import eligible

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "imagenet"

# With the names of VGG-16; killed in a step of training, where the environment asks for it.
NETWORK = """
import os
import signal
from collections import OrderedDict

import torch
from torch import nn
from torchvision.models.vgg import make_layers


def tiny():
    widths = [4, 4, "M", 4, 4, "M", 4, 4, 4, "M", 4, 4, 4, "M", 4, 4, 4, "M"]
    features, steps = make_layers(widths), []

    def kill(module, inputs):
        steps.append(module.training and torch.is_grad_enabled())
        if sum(steps) == int(os.environ.get("KILLED_IN_STEP", -1)):
            os.kill(os.getpid(), signal.SIGKILL)

    features[0].register_forward_pre_hook(kill)
    layers = {"features": features, "flatten": nn.Flatten(), "classifier": nn.Linear(4, 6)}
    return nn.Sequential(OrderedDict(layers))
"""


def commands() -> list[list[str]]:
    """The indented lines of the README that start a program, as lists of arguments."""
    text = (RECIPE / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^    (\w.*)$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def tunings() -> list[list[str]]:
    """The arguments of every `virtualpool tune`, without the launcher's."""
    found = [line for line in commands() if "tune" in line]
    return [line[line.index("tune") :] for line in found]


def changed(arguments: list[str], model: str, changes: dict[str, object]) -> list[str]:
    """A tuning of another model, with some options given otherwise or in addition."""
    command, _, *options = arguments
    values = dict(zip(options[::2], options[1::2], strict=True))
    values |= {name: str(value) for name, value in changes.items()}
    return [command, model, *(part for option in values.items() for part in option)]


@pytest.fixture
def network(tmp_path: Path) -> str:
    path = tmp_path / "network.py"
    path.write_text(NETWORK, encoding="utf-8")
    return f"{path}:tiny"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four images of each of six classes, two of which are held out."""
    generator = torch.Generator().manual_seed(0)
    for index in range(24):
        split = "val" if index // 6 % 2 else "train"
        path = tmp_path / "imagenet" / split / f"n0000000{index % 6}" / f"{index}.jpeg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (40, 48, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(path)
    return tmp_path / "imagenet"


@pytest.mark.parametrize("arguments", tunings(), ids=lambda them: " ".join(them[1:6]))
def test_every_command_is_understood(
    arguments: list[str], network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    changes = {"--weights": "random", "--data": tmp_path / "missing", "--size": 32}
    result = CliRunner().invoke(app, changed(arguments, network, changes))
    assert result.exit_code == 1, result.output
    assert "missing: no such folder" in result.stderr


def test_the_launcher_knows_its_options() -> None:
    launched = [line for line in commands() if line[:2] == ["accelerate", "launch"]]
    parsed = [launch_command_parser().parse_args(line[2:]) for line in launched]
    assert [(it.num_machines, it.num_processes) for it in parsed] == [(1, 2), (2, 16)]
    assert all(it.module and it.training_script == "virtualpool" for it in parsed)


def test_the_rounds_are_of_sites_of_torchvisions_networks() -> None:
    rounds = json.loads((RECIPE / "rounds.json").read_text(encoding="utf-8"))
    names = {key: [name for added in value for name in added] for key, value in rounds.items()}
    assert sorted(names["resnet50"]) == sorted(names["resnet50-grouped"])
    features = nn.Sequential(OrderedDict(features=vgg16(init_weights=False).features))
    for model, key in ((features, "vgg16"), (resnet50(), "resnet50")):
        found = eligible(model, torch.rand(1, 3, 64, 64), names[key])
        assert {site.name for site in found} == set(names[key])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_the_authors_schedule_killed_and_resumed(
    network: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {
        "--weights": "random", "--data": images, "--run-dir": tmp_path / "run",
        "--steps": "3,3,3,5", "--drop-steps": "2,4", "--batch-size": 4, "--workers": 0,
        "--size": 32, "--mode": "eager", "--repeats": 1, "--threads": 1, "--device": "cpu",
    }  # fmt: skip
    asked = changed(tunings()[0], network, changes)
    monkeypatch.chdir(ROOT)
    killed = subprocess.run(
        [sys.executable, "-m", "virtualpool", *asked],
        env=os.environ | {"KILLED_IN_STEP": "8", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "run" / "round-02" / "point.json").exists()
    assert (tmp_path / "run" / "round-03" / "checkpoint").exists()

    result = CliRunner().invoke(app, [*asked, "--wide"])
    assert result.exit_code == 0, result.output
    assert "top-5 %" in result.stdout
    frontier = json.loads((tmp_path / "run" / "frontier.json").read_text(encoding="utf-8"))
    assert [len(point["plan"]["sites"]) for point in frontier["points"]] == [0, 6, 9, 10, 12]
    assert all(0 <= point["metrics"]["top5"] <= 1 for point in frontier["points"])
    ends = [read_records(tmp_path / "run" / f"round-0{it}" / "training.jsonl") for it in (3, 4)]
    rates = [[it["learning_rate"] for it in end if "loss" in it] for end in ends]
    assert rates == [[pytest.approx(1e-4)], [pytest.approx(1e-5)]]
