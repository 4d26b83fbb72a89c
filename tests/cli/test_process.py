"""The command by its real entry point, in processes of their own."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("virtualpool")


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in (COMMAND, *arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def test_help() -> None:
    result = command("--help")
    assert result.returncode == 0
    assert result.stderr == ""
    for name in ("sites", "apply", "sensitivity", "tune", "bench", "pick", "report"):
        assert name in result.stdout


def test_a_refusal_is_one_line_and_exit_code_1(network: Path) -> None:
    result = command("sites", f"{network}:broken")
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith("raised ValueError: no weights today.")


def test_wrong_usage_is_exit_code_2() -> None:
    result = command("sites", "virtualpool:all_cnn_c", "--sise", "32")
    assert result.returncode == 2
    assert "--sise" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_leaves_a_run_that_the_printed_command_finishes(
    network: Path, tune_options: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "my run"
    _, _, *options = tune_options
    asked = ["tune", f"{network}:interrupted", *options, "--run-dir", str(folder)]
    asked += ["--sizes", "2", "--epochs", "4"]
    stopped = command(*asked, PRESS_CTRL_C="1")
    assert stopped.returncode == 130, stopped.stderr
    assert stopped.stdout == "this network talks\n"  # it ended before its table
    assert "Traceback" not in stopped.stderr
    resume = shlex.join(["virtualpool", *asked])
    assert resume in [line.strip() for line in stopped.stderr.splitlines()]
    assert not (folder / "frontier.json").exists()
    before = (folder / "sensitivity.json").stat().st_mtime_ns

    result = command(*shlex.split(resume)[1:], "--json")
    assert result.returncode == 0, result.stderr
    # JSON is all there is on standard output.
    assert len(json.loads(result.stdout)["points"]) == 2
    assert "this network talks" in result.stderr
    assert (folder / "sensitivity.json").stat().st_mtime_ns == before
    journal = (folder / "round-01" / "training.jsonl").read_text(encoding="utf-8")
    steps = [json.loads(line)["step"] for line in journal.splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] == 12  # 24 images in batches of 8, four times
    assert (folder / "report.html").is_file()
