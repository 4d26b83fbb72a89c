"""Standard output and error that end no command, by a closed pipe or by their encoding."""

import io
import os
import sys
from typing import Any


class Lasting:
    """A stream that may have lost its reader: output then goes nowhere."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes a text; always its whole length."""
        try:
            self._stream.write(text)
        except BrokenPipeError:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Passes on the output so far."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        # In the place of the pipe itself: Python writes the rest of the buffer at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def make_lasting() -> None:
    """Replaces both streams by ones that a closed pipe or a letter beyond their encoding spares."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # None where it was closed from the start
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, Lasting(stream))
