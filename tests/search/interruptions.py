"""A search that is stopped by Ctrl-C at one moment, and how often it did what."""

from collections import Counter


class Interruptions:
    """Counts what happens.

    Attributes:
        calls: how often each thing happened since `begin`.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._moment = ""

    def begin(self, moment: str) -> None:
        """Counts anew; at a moment such as "evaluate 2" Ctrl-C is pressed."""
        self.calls.clear()
        self._moment = moment

    def count(self, what: str) -> None:
        """Something happens."""
        self.calls[what] += 1
        if self._moment == f"{what} {self.calls[what]}":
            raise KeyboardInterrupt
