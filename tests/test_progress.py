import sys
from io import StringIO

import pytest

from virtualpool.observer import Observer, unobserved
from virtualpool.progress import shows_progress


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@shows_progress
def works(steps: int, *, observer: Observer | None = None) -> Observer | None:
    """Works."""
    for done in range(steps + 1):
        assert observer is not None
        observer("stage", done, steps, "message")
    return observer


def test_a_terminal_sees_bars(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    works(2)
    assert "stage" in sys.stderr.getvalue()  # pyright: ignore
    assert "2/2" in sys.stderr.getvalue()  # pyright: ignore


def test_a_pipe_sees_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", StringIO())
    assert works(2) is unobserved
    assert sys.stderr.getvalue() == ""  # pyright: ignore


def test_the_observer_that_was_given_is_told_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    told = []
    works(1, observer=lambda *event: told.append(event))
    assert told == [("stage", 0, 1, "message"), ("stage", 1, 1, "message")]
    assert sys.stderr.getvalue() == ""  # pyright: ignore
    assert works.__name__ == "works"
    assert works.__doc__ == "Works."
