import json
import os
import sys
import warnings
from pathlib import Path

import pytest

from virtualpool import VirtualPoolError
from virtualpool.documents import read_document
from virtualpool.records import append_line
from virtualpool.search.run import run as run_module
from virtualpool.search.run.run import Run

CONFIG = {"seed": 3, "latency": {"batch": 1, "mode": "eager"}, "sites": ["a", "b"], "settings": {}}


def test_what_was_found_is_not_found_again(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"found": [1, 2]}

    for _ in range(2):
        with Run(tmp_path / "new" / "run").started(CONFIG):
            found = Run(tmp_path / "new" / "run").remember("deep/found.json", compute)
            assert found == {"found": [1, 2]}
    assert len(calls) == 1


CHANGES = {
    "a number": (CONFIG | {"seed": 4}, "seed 3, now 4"),
    "inside": (CONFIG | {"latency": {"batch": 8, "mode": "eager"}}, r"latency\.batch 1, now 8"),
    "a list": (CONFIG | {"sites": ["a"]}, r'sites \["a", "b"\], now \["a"\]'),
    "added": (CONFIG | {"settings": {"epochs": 2}}, r"settings\.epochs null, now 2"),
    "two": (CONFIG | {"seed": 4, "sites": []}, "seed 3, now 4, sites .*, now "),
}


@pytest.mark.parametrize("case", CHANGES)
def test_another_config_is_refused(tmp_path, case):
    config, message = CHANGES[case]
    run = Run(tmp_path)
    with run.started(CONFIG):
        run.remember("found.json", lambda: 1)
    with pytest.raises(VirtualPoolError, match=message), run.started(config):
        pass
    assert read_document(tmp_path / "config.json") == CONFIG
    with run.started(CONFIG | {"sites": ("a", "b")}):
        assert run.remember("found.json", lambda: 2) == 1


def test_a_config_can_be_put_right_while_nothing_is_found(tmp_path):
    with pytest.raises(RuntimeError), Run(tmp_path).started(CONFIG):
        raise RuntimeError("mode 'egaer' is not known")
    with Run(tmp_path).started(CONFIG | {"seed": 4}):
        assert json.loads((tmp_path / "config.json").read_text())["seed"] == 4


def test_a_config_that_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(VirtualPoolError, match="numbers, texts"), Run(tmp_path).started({"a": {1}}):
        pass


def test_a_directory_that_another_machine_does_not_see_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "is_connected", lambda: True)
    monkeypatch.setattr(run_module, "gathered", lambda found: [found, False])
    with (
        pytest.raises(VirtualPoolError, match=r"process 1 does not see .* that all machines share"),
        Run(tmp_path).started(CONFIG),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(run_module, "gathered", lambda found: [found, found])
    with Run(tmp_path).started(CONFIG):
        assert (tmp_path / "config.json").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_one_process_at_a_time(tmp_path):
    with Run(tmp_path).started(CONFIG):
        with pytest.raises(VirtualPoolError, match="another process"):
            Run(tmp_path).started(CONFIG).__enter__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn of threads
            other = os.fork()
        if other == 0:
            try:
                Run(tmp_path).started(CONFIG).__enter__()
            except VirtualPoolError as error:
                os._exit(17 if "another process is running it" in str(error) else 1)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 17
    with Run(tmp_path).started(CONFIG):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_worker_that_lives_on_does_not_hold_the_run(tmp_path):
    ready, say_ready = os.pipe()
    wait, let_go = os.pipe()
    with Run(tmp_path).started(CONFIG), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of threads
        worker = os.fork()
        if worker == 0:
            os.close(let_go)
            os.write(say_ready, b"!")
            os.read(wait, 1)  # until the parent closes its end
            os._exit(0)
        os.read(ready, 1)
    try:
        with Run(tmp_path).started(CONFIG):
            pass
    finally:
        os.close(let_go)
        os.waitpid(worker, 0)
        for end in (ready, say_ready, wait):
            os.close(end)


def test_environment_and_log(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["virtualpool", "tune"])
    with Run(tmp_path).started(CONFIG):
        pass
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["command"] == ["virtualpool", "tune"]
    assert environment["seed"] == 3
    assert environment["cores"] == os.cpu_count()
    assert environment["directory"] == str(Path.cwd())
    assert {"machine", "processor", "gpu", "python", "torch", "torchvision", "virtualpool"} < set(
        environment
    )
    environment["torch"] = "1.0"
    (tmp_path / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(KeyboardInterrupt), Run(tmp_path).started(CONFIG):
        raise KeyboardInterrupt
    lines = [line.split("  ", 1)[1] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert lines[:2] == ["started: virtualpool tune", "finished"]
    assert lines[2].startswith("going on: virtualpool tune; torch was 1.0, is ")
    assert lines[3] == "stopped by KeyboardInterrupt; the same command goes on from here"
    assert json.loads((tmp_path / "environment.json").read_text()) == environment


def test_of_what_would_be_refused_again_the_log_says_no_more(tmp_path):
    with pytest.raises(VirtualPoolError), Run(tmp_path).started(CONFIG):
        raise VirtualPoolError("too few classes")
    log = (tmp_path / "log.txt").read_text()
    assert log.endswith("stopped by VirtualPoolError: too few classes\n")


def test_half_written_files_are_swept(tmp_path):
    left = [
        ".virtualpool-config.json.abcd1234",
        "time-saved/.virtualpool-a.b.json.abcdefgh",
        "round-01/.virtualpool-model.safetensors.k3_d9x2a",
        "round-01/.virtualpool-training.pt.k3_d9x2a",
        ".virtualpool-report.html.k3_d9x2a",
    ]
    kept = [".hidden", ".note.json", "round-01/model.txt", "round-01/.gitignore"]
    for name in left + kept:
        append_line(tmp_path / name, "{}")
    with Run(tmp_path).started(CONFIG):
        pass
    assert [name for name in left + kept if (tmp_path / name).exists()] == kept


def test_a_relative_directory_is_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    run = Run("run")
    run.remember(run.folder(1) / "found.json", lambda: 1)
    assert read_document(tmp_path / "run" / "round-01" / "found.json") == 1
    monkeypatch.chdir(tmp_path.parent)
    assert run.remember(run.folder(1) / "found.json", lambda: 2) == 1


def test_a_broken_file_of_a_run_is_named_at_once(tmp_path):
    with Run(tmp_path).started(CONFIG):
        Run(tmp_path).remember("round-01/score.json", lambda: {"value": 1})
    for name in ("round-01/score.json", "environment.json", "config.json"):
        whole = (tmp_path / name).read_text()
        for text in ("{", "[" * 200_000, '{"schema": 99}'):
            (tmp_path / name).write_text(text)
            with pytest.raises(VirtualPoolError, match=name), Run(tmp_path).started(CONFIG):
                pass
        (tmp_path / name).write_text(whole)
    (tmp_path / "round-01" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(VirtualPoolError, match=r"model\.safetensors"):
        Run(tmp_path).started(CONFIG).__enter__()
