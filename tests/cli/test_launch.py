"""`python -m virtualpool`, alone and in two processes that `accelerate launch` starts."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from virtualpool.search import read_records

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs gloo")


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def test_the_module_is_the_command() -> None:
    process = start("virtualpool", "tune")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Usage: python -m virtualpool tune" in error


def test_two_processes_tune_as_one(tune_options: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    asked = [*tune_options, "--run-dir", str(folder), "--sizes", "2", "--batch-size", "4", "--json"]
    process = start(
        "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2, "--num_machines", 1,
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", free_port(),
        "-m", "virtualpool", *asked, HF_HOME=str(tmp_path),
    )  # fmt: skip
    output, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    found = json.loads(output)  # printed twice, it would be no JSON
    assert [len(point["plan"]["sites"]) for point in found["points"]] == [0, 2]
    assert found["points"] == json.loads((folder / "frontier.json").read_text())["points"]
    said_once = ("by reconstruction", "by distillation")
    for said in ("started", *(f"round-01: recovery {way}" for way in said_once), "finished"):
        assert len([line for line in error.splitlines() if said in line]) == 1, error
    log = (folder / "log.txt").read_text()
    assert log.count("started: ") == log.count("finished") == 1
    assert f"accelerate launch ... -m virtualpool {' '.join(asked)}" in log
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "<span>accelerate</span> <span>launch</span>" in report
    # Of the six batches of an epoch each process has three.
    steps = [record["step"] for record in read_records(folder / "round-01" / "training.jsonl")]
    assert steps == [0, 3, 3]


def test_what_fails_in_one_process_ends_all_and_is_said_once(
    network: Path, tune_options: list[str], tmp_path: Path
) -> None:
    _, _, *options = tune_options
    asked = ["tune", f"{network}:failing", *options, "--run-dir", str(tmp_path / "run")]
    asked += ["--rounds", "1"]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    processes = [
        start("virtualpool", *asked, RANK=rank, LOCAL_RANK=rank, **together) for rank in "01"
    ]
    ends = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [1, 1], ends
    assert [output for output, _ in ends] == ["", ""]
    said = [line for _, error in ends for line in error.splitlines() if "error: " in line]
    (line,) = said
    assert line.startswith("process 1: error: ")
    assert line.endswith("raised ValueError: no luck here.")
