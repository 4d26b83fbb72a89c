"""The ways to make rounds, and their numbers, as the command line says them."""

from pathlib import Path
from typing import Any, TypeVar

import typer

from virtualpool.documents import read_document
from virtualpool.errors import VirtualPoolError
from virtualpool.search import ByTimeSaved, Grouped, Listed, PerLayer, Schedule

USUAL_ROUNDS = 3
USUAL_EPOCHS = 5.0

Number = TypeVar("Number", int, float)


def schedule(
    *,
    rounds: int | None,
    sizes: str | None,
    thresholds: str | None,
    per_layer: bool,
    by_time: bool,
    rounds_file: str | None,
) -> Schedule:
    """The schedule that options ask for; `USUAL_ROUNDS` groups if they say nothing.

    Raises:
        typer.BadParameter: the options ask for two things at once.
        VirtualPoolError: the file is missing, or holds no rounds.
    """
    ways = {
        "--rounds": rounds,
        "--sizes": sizes,
        "--thresholds": thresholds,
        "--per-layer": per_layer,
        "--rounds-file": rounds_file,
    }
    given = [name for name, value in ways.items() if value]
    if len(given) > 1 or (by_time and not {*given} <= {"--rounds", "--sizes"}):
        both = [*given, "--by-time"] if by_time else given
        raise typer.BadParameter(f"{' and '.join(both)} cannot be given together.")
    if rounds_file:
        return _listed(rounds_file)
    if per_layer:
        return PerLayer()
    if thresholds:
        return Grouped(thresholds=tuple(numbers(thresholds, "--thresholds")))
    grouped = ByTimeSaved if by_time else Grouped
    if sizes:
        return grouped(sizes=tuple(whole_numbers(sizes, "--sizes")))
    return grouped(count=rounds or USUAL_ROUNDS)


def numbers(text: str, option: str) -> list[float]:
    """Numbers with commas between them.

    >>> numbers("0.01,0.05", "--thresholds")
    [0.01, 0.05]

    Raises:
        typer.BadParameter: they are no numbers.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{option} {text}: numbers with commas between them are expected."
        ) from None


def whole_numbers(text: str, option: str) -> list[int]:
    """Whole numbers with commas between them.

    >>> whole_numbers("30000,45000", "--drop-steps")
    [30000, 45000]

    Raises:
        typer.BadParameter: they are none.
    """
    found = numbers(text, option)
    if any(not number.is_integer() for number in found):
        raise typer.BadParameter(f"{option} {text}: whole numbers are expected.")
    return [int(number) for number in found]


def length(epochs: str | None, steps: str | None) -> dict[str, Any]:
    """The arguments of `search` for how long each round is; `USUAL_EPOCHS` if nothing is said.

    >>> length("0.5,2", None), length(None, "50000")
    ({'epochs': [0.5, 2.0]}, {'training_steps': 50000})

    Raises:
        typer.BadParameter: both are given, or they are no numbers.
    """
    if epochs and steps:
        raise typer.BadParameter("--epochs and --steps cannot be given together.")
    if steps:
        return {"training_steps": _one_if_alone(whole_numbers(steps, "--steps"))}
    return {"epochs": one_or_each(epochs, "--epochs") if epochs else USUAL_EPOCHS}


def one_or_each(text: str, option: str) -> float | list[float]:
    """One number for all rounds, or one for each round."""
    return _one_if_alone(numbers(text, option))


def _one_if_alone(found: list[Number]) -> Number | list[Number]:
    return found[0] if len(found) == 1 else found


def _listed(text: str) -> Listed:
    """The rounds in a file: a list of lists; or by a key, also in an object that has "rounds"."""
    file, key = Path(text), None
    if not file.exists() and ":" in text:
        name, _, key = text.rpartition(":")
        file = Path(name)
    value: Any = read_document(file)
    if key is not None:
        if not isinstance(value, dict) or key not in value:
            known = ", ".join(value) if isinstance(value, dict) else "none, it holds a list"
            raise VirtualPoolError(f"{file} has no key {key!r}; its keys: {known}.")
        value = value[key]
    rounds = value.get("rounds") if isinstance(value, dict) else value
    if not isinstance(rounds, list) or not all(isinstance(names, list) for names in rounds):
        keys = f"; there are: {', '.join(value)}" if isinstance(value, dict) else ""
        raise VirtualPoolError(
            f"{text}: expected a list of rounds, each a list of names of sites. "
            f"If the file has several, give one as FILE:KEY{keys}."
        )
    return Listed(tuple(tuple(map(str, names)) for names in rounds))
