"""Ctrl-C, once and again: it ends a command without a traceback, and with one exit code."""

import os
import signal
from typing import Any

from virtualpool.cli.terminal import INTERRUPTED

_PATIENCE = 3
"""The number of Ctrl-C that ends the process at once: its files are whole at any moment."""


class Interrupts:
    """The answer to Ctrl-C: an interrupt, or nothing once the command is ending anyway."""

    def __init__(self) -> None:
        self.is_ending = False
        self._count = 0

    def install(self) -> None:
        """Takes the place of Python's handler, in the main thread."""
        signal.signal(signal.SIGINT, self)

    def __call__(self, *_: Any) -> None:
        """Is called at each Ctrl-C."""
        self._count += 1
        if self._count >= _PATIENCE:
            os._exit(INTERRUPTED)
        if not self.is_ending:
            raise KeyboardInterrupt


interrupts = Interrupts()
"""Of this process."""
