"""The contents of each JSON file of a run: checked whenever one of them is read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import msgspec

from virtualpool.documents import read_document
from virtualpool.fuse import Report
from virtualpool.measure.score import Score
from virtualpool.plan import Plan
from virtualpool.schema import Finite, converted
from virtualpool.search.frontier import Frontier, Point
from virtualpool.search.run.energies import Energies
from virtualpool.search.run.forms import SmallerTimes, Times
from virtualpool.search.sensitivity import Sensitivity

Rounds = list[list[str]]
"""The sites that each round adds."""


def read(directory: Path, path: Path) -> Any:
    """The contents of a file of the run in a directory.

    Raises:
        VirtualPoolError: the file is missing, broken, of a newer version, or holds something else.
    """
    return read_document(path, parser_of(directory, path))


def parser_of(directory: Path, path: Path) -> Callable[[Any], Any]:
    """The parser of a file's JSON value; of an unknown file, it returns the value."""
    name = path.relative_to(directory).as_posix()
    found = (parse for pattern, parse in _PARSERS.items() if fnmatchcase(name, pattern))
    return next(found, lambda value: value)


@dataclass(frozen=True)
class _Config:
    """The settings that are read from their file by name."""

    model: str | None = None
    sites: list[str] = field(default_factory=list)
    max_drop: Finite | None = None
    compare: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    # One number in the searches for a target, and in the runs of benchmarks.
    learning_rates: list[Finite | None] | Finite | None = None
    epochs: list[Finite | None] | Finite | None = None


@dataclass(frozen=True)
class _Picture:
    title: str
    data: str


@dataclass(frozen=True)
class _Row:
    title: str
    pictures: list[_Picture]


@dataclass(frozen=True)
class _Colour:
    name: str
    colour: Annotated[str, msgspec.Meta(pattern="^#[0-9a-f]{6}$")]


@dataclass(frozen=True)
class _Pictures:
    """The pictures that a task has drawn, and what their colours mean."""

    title: str
    caption: str
    rows: list[_Row]
    legend: list[_Colour] = field(default_factory=list)


@dataclass(frozen=True)
class _Environment:
    """Of the machine and the versions, that which is read from its file by name."""

    directory: str = ""
    command: list[str] = field(default_factory=list)


def _config(value: Any) -> dict[str, Any]:
    converted(value, _Config, "the settings of a run")
    return value


def _environment(value: Any) -> dict[str, Any]:
    converted(value, _Environment, "the environment of a run")
    return value


def _rounds(value: Any) -> Rounds:
    return converted(value, Rounds, "a list of rounds, each a list of sites")


def _milliseconds(value: Any) -> float:
    return converted(value, float, "a number of milliseconds")


def _reason(value: Any) -> str | None:
    return converted(value, str | None, "a reason, or null")  # pyright: ignore[reportArgumentType]


def _pictures(value: Any) -> dict[str, Any]:
    converted(value, _Pictures, "pictures of a run")
    return value


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "config.json": _config,
    "environment.json": _environment,
    "sensitivity.json": Sensitivity.from_json,
    "rounds.json": _rounds,
    "frontier.json": Frontier.from_json,
    "pictures.json": _pictures,
    "time-saved/*.json": _milliseconds,
    "smaller-*/missing.json": _reason,
    "smaller-*/times.json": SmallerTimes.from_json,
    "round-*/times.json": Times.from_json,
    "round-*/plan.json": Plan.from_json,
    "round-*/fusing.json": Report.from_json,
    "*/score.json": Score.from_json,
    "*/energy.json": Energies.from_json,
    "*/point.json": Point.from_json,
}
