"""How a long computation says how far it is."""

from typing import Protocol


class Observer(Protocol):
    """A callable `observer(stage, done, total, message)` that is told of progress.

    It is called when a stage begins (`done` is 0), after each of its steps, and whenever the
    message changes. Steps that an earlier start has done are told of as done.

    - `stage`: the work in progress, such as "plans", "rounds" or "round-01".
    - `done` and `total`: how many steps of the stage are done, and how many there are.
    - `message`: the subject of the next step, such as a site's name.
    """

    def __call__(self, stage: str, done: int, total: int, message: str, /) -> None:
        """Takes note.

        Args:
            stage: the work in progress: "original", "plans", "sensitivity", "time saved", "rounds"
                or "smaller images"; or the name of a round ("round-01", "smaller-0.75 round-01")
                while a model is fine-tuned, and with the stage of that ("round-01 reconstruction").
            done: steps of the stage that are done.
            total: steps of the stage in all.
            message: the subject of the next step, such as a site's name.
        """


def unobserved(stage: str, done: int, total: int, message: str, /) -> None:
    """The observer that takes no note."""


def printed(stage: str, done: int, total: int, message: str, /) -> None:
    """The observer that prints a line each time.

    >>> printed("rounds", 1, 3, "round-02")
    rounds 1/3 round-02
    """
    print(f"{stage} {done}/{total} {message}", flush=True)
