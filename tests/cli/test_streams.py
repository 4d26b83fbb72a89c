import io
import os
import subprocess
import sys

import pytest

from virtualpool.cli.streams import Lasting


@pytest.fixture
def unread():
    """A stream into a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return io.TextIOWrapper(io.FileIO(writing, "w"), encoding="utf-8")


def test_what_nobody_reads_goes_nowhere(unread):
    stream = Lasting(unread)
    assert stream.write("text") == 4
    stream.flush()
    stream.flush()
    assert print("more", file=stream, flush=True) is None
    unread.close()


def test_it_is_like_the_stream_in_all_else():
    inner = io.StringIO()
    stream = Lasting(inner)
    stream.write("text")
    assert (inner.getvalue(), stream.isatty(), stream.closed) == ("text", False, False)


def start(**options):
    command = [sys.executable, "-m", "virtualpool", "--help"]
    return subprocess.run(command, check=False, **options)


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_command_whose_pipe_is_closed_ends_well(closed):
    reading, writing = os.pipe()
    os.close(reading)
    other = "stderr" if closed == "stdout" else "stdout"
    ended = start(**{closed: writing, other: subprocess.PIPE})
    os.close(writing)
    assert ended.returncode == 0
    assert not ended.stderr


def test_a_terminal_that_is_no_utf_8():
    ended = start(capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (ended.returncode, ended.stderr) == (0, b"")
