"""Python in processes of its own, several at once or killed at any moment."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

needs_forks = pytest.mark.skipif(sys.platform == "win32", reason="needs fork, SIGKILL and gloo")

FORKING = """
import json, os, sys, traceback
from pathlib import Path

import accelerate  # late imports happen here, once
import torch
from safetensors.torch import save_file
from torch import nn

def fork(job):
    pid = os.fork()
    if pid:
        return pid
    try:
        os.environ.update(job["environment"])
        run(Path(job["folder"]), job["moment"], job["kind"])
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

def main():
    for jobs in json.loads(sys.argv[1]):
        pids = [fork(job) for job in jobs]
        print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids), flush=True)
"""
"""Runs jobs in processes of their own, forked from one that has imported torch, for speed. The code
after it has a function `run`, and calls `main`."""


Job = dict[str, Any]


def job(folder: Path, kind: str, moment: str = "never", **environment: str) -> Job:
    folder.mkdir(exist_ok=True)
    return {"folder": str(folder), "kind": kind, "moment": moment, "environment": environment}


def two_of(folder: Path, kind: str) -> list[Job]:
    """Two processes, as `accelerate launch` starts them."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    return [job(folder, kind, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in range(2)]


def codes_of(code: str, *groups: list[Job]) -> list[list[int]]:
    """How the jobs ended: a group after the other, the jobs of a group at once.

    Args:
        code: `FORKING` and what follows it.
        groups: the jobs.
    """
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, json.dumps(groups)],
        capture_output=True,
        text=True,
        timeout=900,  # a deadlock, not a slow machine
        check=False,
    )
    codes = [[int(each) for each in line.split()] for line in ran.stdout.splitlines()]
    assert ran.returncode == 0, ran.stderr
    assert all(each in (0, -signal.SIGKILL) for group in codes for each in group), ran.stderr
    return codes
