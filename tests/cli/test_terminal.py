import json
import logging
import sys

import pytest

from virtualpool.cli import terminal


def test_json_results_are_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.results(as_json=True) as show:
        print("chatter of a user's model")
        show({"answer": 42}, lambda: print("never shown"))
        print("more chatter")
    output, messages = capsys.readouterr()
    assert json.loads(output) == {"answer": 42}
    assert messages == "chatter of a user's model\nmore chatter\n"


def test_readable_results_are_not_json(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.results(as_json=False) as show:
        show({"answer": 42}, lambda: print("forty-two"))
    assert capsys.readouterr().out == "forty-two\n"


def test_progress_without_a_terminal_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("virtualpool.cli.terminal.time.monotonic", lambda: now[0])
    with terminal.progress() as observe:
        for done in range(61):
            observe("round-01", done, 60, f"loss {done}")
            now[0] += 0.5
        observe("round-02", 0, 60, "")
    assert capsys.readouterr().err.splitlines() == [
        "round-01: 0/60 loss 0",
        "round-01: 30/60 (15 s left) loss 30",
        "round-01: 60/60 loss 60",
        "round-02: 0/60",
    ]


def test_a_person_is_told_that_pytorch_is_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any stream for a terminal
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    terminal.announce_loading()
    assert not isinstance(sys.meta_path[0], terminal.LoadingPyTorch)  # it is loaded already
    finder = terminal.LoadingPyTorch()
    sys.meta_path.insert(0, finder)
    assert finder.find_spec("torchvision") is None
    assert capsys.readouterr().err == ""
    assert finder.find_spec("torch") is None
    assert finder not in sys.meta_path
    assert capsys.readouterr().err == "loading PyTorch ...\n"


def test_ctrl_c_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["/bin/virtualpool", "tune", "my net.py:build", "--rounds", "3"]
    )
    with pytest.raises(KeyboardInterrupt), terminal.resumable("the run"):
        raise KeyboardInterrupt
    said = capsys.readouterr().err
    assert "the run is kept" in said
    assert "  virtualpool tune 'my net.py:build' --rounds 3" in said.splitlines()


def test_tables_are_not_broken_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table(["name", ">value"], [["a" * 90, "1"], ["[bold]b[/bold]", "22"]])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [f"{'name':90}  value", f"{'a' * 90}      1", f"{'[bold]b[/bold]':90}     22"]


def test_warnings_of_the_library_and_the_log_of_a_search_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("virtualpool", "virtualpool.search")
    levels = [logging.getLogger(name).level for name in names]
    try:
        terminal.show_log()
        logging.getLogger("virtualpool").info("what apply did")
        logging.getLogger("virtualpool.search.run.run").info("round-01 done")
        logging.getLogger("virtualpool.tasks.images").warning("a.png cannot be read")
    finally:
        logging.getLogger("virtualpool").handlers = []
        for name, level in zip(names, levels, strict=True):
            logging.getLogger(name).setLevel(level)
    assert capsys.readouterr().err.splitlines() == [
        "round-01 done",
        "warning: a.png cannot be read",
    ]
