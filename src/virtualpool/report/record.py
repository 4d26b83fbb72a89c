"""The contents of a run directory, finished or not, read into one value."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtualpool.cascade import storing
from virtualpool.cascade.calibrating import Calibration
from virtualpool.cascade.times import Times
from virtualpool.documents import read_document
from virtualpool.errors import VirtualPoolError
from virtualpool.fuse import Report
from virtualpool.measure.unit import Unit
from virtualpool.records import read_records
from virtualpool.report.wording import Claim, claim
from virtualpool.schema import Finite, NotNegative, is_a
from virtualpool.search.frontier import Frontier, Point
from virtualpool.search.planning import planning
from virtualpool.search.planning.trial import Plans
from virtualpool.search.run import contents
from virtualpool.search.sensitivity import Sensitivity
from virtualpool.search.smaller import SIDES

PICTURES = "pictures.json"
"""The file of a run with the pictures that its task draws at the end."""


@dataclass(frozen=True)
class Record:
    """A run as its directory tells it.

    Attributes:
        directory: where the run lives.
        config: the arguments of the search.
        environment: the machine, the versions and the command.
        frontier: the models so far, also on smaller images; None before the original was judged.
        sensitivity: the sites that were tried so far, or None.
        rounds: the sites that each round adds, or that each kept plan has; empty before that was
            decided.
        fusing: the report of fusing each model, by the model's name.
        training: the log of fine-tuning, of each round that began; of several recoveries
            in a round the later ones' steps go on from the earlier ones'.
        pictures: the task's pictures, for the page as they are; or None.
        plans: the plans of a search for a target, kept or left; None before that was decided.
        cascades: the calibration and the latencies of each cascade that was saved in a folder of
            the run's directory, by the folder's name.
    """

    directory: Path
    config: dict[str, Any]
    environment: dict[str, Any]
    frontier: Frontier | None
    sensitivity: Sensitivity | None
    rounds: list[list[str]]
    fusing: dict[str, Report]
    training: list[list[dict[str, Any]]]
    pictures: dict[str, Any] | None
    cascades: dict[str, tuple[Calibration, tuple[Times, ...]]]
    plans: Plans | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the caller of the search noted besides its own arguments."""
        return self.config.get("settings") or {}

    def path_of(self, path: str) -> Path:
        """Where a path of the settings is: relative ones are from where the run was started.

        A run that was moved to another machine has them from the working directory.
        """
        there = Path(self.environment.get("directory", ""), path)
        return there if there.exists() else Path(path)

    @property
    def points(self) -> tuple[Point, ...]:
        """The models so far, the original first."""
        return self.frontier.points if self.frontier else ()

    @property
    def rounds_finished(self) -> bool:
        """Whether no further round will be made."""
        done = self.points[1:]
        if self.plans is not None:
            return len(done) == len(self.rounds)
        return bool(self.rounds and done) and (len(done) == len(self.rounds) or done[-1].over_limit)

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.rounds_finished and self._comparison_finished

    @property
    def _comparison_finished(self) -> bool:
        frontier = self.frontier
        asked = len(SIDES) if self.config.get("compare") else 0
        return frontier is not None and len(frontier.smaller) + len(frontier.missing) == asked

    @property
    def unit(self) -> Unit:
        """The meaning of the scores, and how to write them."""
        return self.frontier.unit if self.frontier else Unit.guessed([])

    @property
    def claim(self) -> Claim:
        """The headline of the run so far, and the model that it is about."""
        if not self.points:
            return Claim("Nothing measured yet", "The original is being evaluated and timed.")
        limit = self.plans.target.max_drop if self.plans else self.config.get("max_drop")
        return claim(self.points, limit, self.unit)

    @property
    def network_order(self) -> list[str]:
        """The sites that were considered, in the order of the network."""
        return self.config.get("sites") or []


def read(run_dir: Path | str) -> Record:
    """Reads a run directory.

    Raises:
        VirtualPoolError: it is none, or one of its files is broken.
    """
    directory = Path(run_dir)
    if not (directory / "config.json").is_file():
        raise VirtualPoolError(
            f"{directory}: no run lives here (it has no config.json); give the --run-dir of "
            "virtualpool tune, or the run_dir of virtualpool.search."
        )
    plans = _plans(directory / planning.FILE)
    rounds = _optional(directory, "rounds.json") or []
    if plans is not None:
        rounds = [[*trial.draft.sites] for trial in plans.kept]
    points, missing = _points(directory, "round-*"), _missing(directory)
    smaller = _points(directory, "smaller-*")[::-1]  # the largest images first, as they were tried
    return Record(
        directory=directory,
        config=contents.read(directory, directory / "config.json"),
        environment=_optional(directory, "environment.json") or {},
        frontier=Frontier(points, directory, smaller, missing) if points else None,
        sensitivity=_optional(directory, "sensitivity.json"),
        rounds=rounds,
        fusing=_fusing(directory),
        training=[
            _joined(_measured(directory / f"round-{index:02d}" / "training.jsonl"))
            for index in range(1, len(rounds) + 1)
        ],
        pictures=_optional(directory, PICTURES),
        plans=plans,
        cascades={
            path.parent.name: storing.rule_of(path.parent)
            for path in sorted(directory.glob(f"*/{storing.SAVED}"))
        },
    )


def _plans(path: Path) -> Plans | None:
    return read_document(path, Plans.from_json) if path.is_file() else None


def _points(directory: Path, folders: str) -> tuple[Point, ...]:
    # A round's point is the last of its files: rounds that have one are done.
    files = sorted(directory.glob(f"{folders}/point.json"))
    return tuple(contents.read(directory, path) for path in files)


def _joined(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of recoveries one after the other; the steps of each go on from the last one's."""
    before = last = 0
    place = 1
    joined = []
    for record in records:
        if record.get("recovery", 1) != place:
            before, place = last, record.get("recovery", 1)
        last = before + record["step"]
        joined.append(record | {"step": last})
    return joined


def _missing(directory: Path) -> dict[str, str]:
    """Of the smaller images that there is no model of, why."""
    files = sorted(directory.glob("smaller-*/missing.json"), reverse=True)
    reasons = {path.parent.name: contents.read(directory, path) for path in files}
    return {name: reason for name, reason in reasons.items() if reason}


def _fusing(directory: Path) -> dict[str, Report]:
    files = sorted(directory.glob("round-*/fusing.json"))
    return {path.parent.name: contents.read(directory, path) for path in files}


def _optional(directory: Path, name: str) -> Any:
    path = directory / name
    return contents.read(directory, path) if path.is_file() else None


@dataclass(frozen=True)
class _Measured:
    """A line of a training that the page shows; others are the user's own."""

    step: NotNegative
    accuracy: Finite | None = None
    loss: Finite | None = None
    recovery: NotNegative = 1


def _measured(path: Path) -> list[dict[str, Any]]:
    return [line for line in read_records(path) if is_a(line, _Measured)]
