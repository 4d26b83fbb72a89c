import signal
import subprocess
import sys

import pytest

from virtualpool.cli.interrupts import Interrupts

PROGRAM = """
import os, signal, time
import virtualpool.cli as cli

def interrupted(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    finally:
        for _ in range(AGAIN):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

def ends(code, problem="", end=cli.end):
    for _ in range(ENDING):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
    return end(code, problem)

cli.end = ends
cli.app.registered_commands = []
cli.app.command("wait")(lambda: interrupted())
cli.app.command("other")(lambda: None)
import sys
sys.argv = ["virtualpool", "wait"]
cli.main()
"""


@pytest.mark.parametrize(("again", "ending"), [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 3)])
def test_ctrl_c_again_and_again_is_no_traceback(again, ending):
    program = PROGRAM.replace("AGAIN", str(again)).replace("ENDING", str(ending))
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip() in ("interrupted", "")


def test_what_it_does():
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupts(signal.SIGINT, None)
    interrupts.is_ending = True
    interrupts(signal.SIGINT, None)
