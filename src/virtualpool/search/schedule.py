"""Which sites join in which round: the paper's three ways, and one by time saved."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, chain, pairwise
from typing import Any, ClassVar

from virtualpool.errors import VirtualPoolError
from virtualpool.search.sensitivity import Sensitivity, SiteSensitivity
from virtualpool.words import some

Rounds = list[list[str]]
SMALLEST_DROP = 1e-4
"""A drop below this, or below its own standard error, cannot be told from none."""


@dataclass(frozen=True)
class Schedule(ABC):
    """How the sites are shared out among the rounds; its subclasses are the ways to do so.

    Sites that no round takes stay unpooled.
    """

    kind: ClassVar[str]
    needs_sensitivity: ClassVar[bool] = True
    needs_time: ClassVar[bool] = False

    @property
    def names(self) -> list[str] | None:
        """The sites that the schedule itself names, or None if it takes any."""
        return None

    @abstractmethod
    def most_rounds(self, sites: int) -> int:
        """How many rounds it makes at most of that many sites; refuses if it does not fit them."""

    @abstractmethod
    def rounds(
        self, sensitivity: Sensitivity | None, saved_ms: dict[str, float] | None = None
    ) -> Rounds:
        """The sites that each round adds.

        Args:
            sensitivity: the sites, most robust first; needed if `needs_sensitivity`.
            saved_ms: milliseconds saved by each site pooled alone; needed if `needs_time`.
        """

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return {"kind": self.kind} | {
            name: value for name, value in asdict(self).items() if value is not None
        }

    @classmethod
    def from_json(cls, value: Any) -> "Schedule":
        """The schedule of a JSON value."""
        kinds = {kind.kind: kind for kind in (Grouped, PerLayer, Listed, ByTimeSaved)}
        try:
            options = dict(value)
            return kinds[options.pop("kind")](**options)
        except (KeyError, TypeError, ValueError) as error:
            raise VirtualPoolError(
                f"Not a schedule: {value!r:.200}; its kind is one of {', '.join(kinds)}."
            ) from error


@dataclass(frozen=True)
class Grouped(Schedule):
    """Several sites a round, from the robust end (the paper's grouped fine-tuning).

    Exactly one of the three is given.

    >>> Grouped(count=2).most_rounds(9)
    2

    Attributes:
        sizes: how many sites each round adds.
        thresholds: rising; each round adds the sites left whose drop (recoverable drop, where that
            is known) is at most this. A round for which there is none is left out.
        count: how many rounds there are, as even as can be, the earlier ones larger.
    """

    sizes: Sequence[int] | None = None
    thresholds: Sequence[float] | None = None
    count: int | None = None
    kind: ClassVar[str] = "grouped"

    def __post_init__(self) -> None:
        _freeze(self, "sizes", "thresholds")
        given = [x for x in (self.sizes, self.thresholds, self.count) if x is not None]
        if len(given) != 1:
            raise VirtualPoolError(
                f"Grouped takes one of sizes, thresholds and count, and was given {len(given)}."
            )
        _check_sizes(self.sizes, self.count)
        steps = self.thresholds
        if steps is not None and (not steps or any(a >= b for a, b in pairwise(steps))):
            raise VirtualPoolError(f"thresholds must rise, and {list(steps)} do not.")

    def most_rounds(self, sites: int) -> int:
        """See `Schedule`."""
        if self.thresholds is not None:
            return len(self.thresholds)
        return len(_sizes(self.sizes, self.count, sites))

    def rounds(
        self, sensitivity: Sensitivity | None, saved_ms: dict[str, float] | None = None
    ) -> Rounds:
        """See `Schedule`."""
        ranked = _needed(sensitivity)
        if self.thresholds is None:
            return _cut(ranked.names, _sizes(self.sizes, self.count, len(ranked.sites)))
        reached = [sum(site.cost <= step for site in ranked.sites) for step in self.thresholds]
        sizes = [after - before for before, after in pairwise([0, *reached])]
        if not any(sizes):
            raise VirtualPoolError(
                f"No site drops as little as {self.thresholds[-1]:g}; the most robust, "
                f"{ranked.sites[0].name}, drops {ranked.sites[0].cost:.4g}. Raise the thresholds."
            )
        return [added for added in _cut(ranked.names, sizes) if added]


@dataclass(frozen=True)
class PerLayer(Schedule):
    """One site a round, from the robust end (the paper's per-layer fine-tuning)."""

    kind: ClassVar[str] = "per-layer"

    def most_rounds(self, sites: int) -> int:
        """See `Schedule`."""
        return sites

    def rounds(
        self, sensitivity: Sensitivity | None, saved_ms: dict[str, float] | None = None
    ) -> Rounds:
        """See `Schedule`."""
        return [[name] for name in _needed(sensitivity).names]


@dataclass(frozen=True)
class Listed(Schedule):
    """The user's own rounds.

    >>> Listed([["features.2", "features.7"], ["features.0"]]).rounds(None)
    [['features.2', 'features.7'], ['features.0']]

    Attributes:
        added: the sites that each round adds; a site comes once.
    """

    added: Sequence[Sequence[str]]
    kind: ClassVar[str] = "listed"
    needs_sensitivity: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "added", tuple(tuple(names) for names in self.added))
        names = self.names
        if not names or not all(self.added):
            raise VirtualPoolError("A list of rounds needs rounds, and at least one site in each.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise VirtualPoolError(f"{some(twice)}: in two rounds; every site can join once.")

    @property
    def names(self) -> list[str]:
        """The sites of all rounds."""
        return list(chain(*self.added))

    def most_rounds(self, sites: int) -> int:
        """See `Schedule`."""
        return len(self.added)

    def rounds(
        self, sensitivity: Sensitivity | None, saved_ms: dict[str, float] | None = None
    ) -> Rounds:
        """See `Schedule`."""
        return [list(names) for names in self.added]


@dataclass(frozen=True)
class ByTimeSaved(Schedule):
    """Several sites a round, first the ones that save most time for their loss of accuracy.

    The order is by milliseconds saved per accuracy lost, each site pooled alone, with the layers
    behind it reconstructed where the recoverable drop is known. A drop below its standard error
    counts as its standard error, and one below 1e-4 as 1e-4. Sites that save no time come last.

    Attributes:
        sizes: how many sites each round adds; or
        count: how many rounds there are, as even as can be, the earlier ones larger.
    """

    sizes: Sequence[int] | None = None
    count: int | None = None
    kind: ClassVar[str] = "by-time-saved"
    needs_time: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _freeze(self, "sizes")
        if (self.sizes is None) == (self.count is None):
            raise VirtualPoolError("ByTimeSaved takes either sizes or a count.")
        _check_sizes(self.sizes, self.count)

    def most_rounds(self, sites: int) -> int:
        """See `Schedule`."""
        return len(_sizes(self.sizes, self.count, sites))

    def rounds(
        self, sensitivity: Sensitivity | None, saved_ms: dict[str, float] | None = None
    ) -> Rounds:
        """See `Schedule`."""
        ranked = _needed(sensitivity)
        unmeasured = [name for name in ranked.names if name not in (saved_ms or {})]
        if saved_ms is None or unmeasured:
            raise VirtualPoolError(
                f"ByTimeSaved needs the time saved by each site; {len(unmeasured)} have none."
            )

        def worth(site: SiteSensitivity) -> tuple[bool, float]:
            saved = saved_ms[site.name]
            cost = max(site.cost, site.cost_error or 0, SMALLEST_DROP)
            return (saved > 0, saved / cost if saved > 0 else -cost)

        order = [site.name for site in sorted(ranked.sites, key=worth, reverse=True)]
        return _cut(order, _sizes(self.sizes, self.count, len(order)))


def as_schedule(value: int | Sequence[Sequence[str]] | Schedule) -> Schedule:
    """A number of rounds, a list of rounds, or a schedule, as a schedule.

    >>> as_schedule(3)
    Grouped(sizes=None, thresholds=None, count=3)
    >>> as_schedule([["features.2"], ["features.0"]])
    Listed(added=(('features.2',), ('features.0',)))
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Grouped(count=value)
    if isinstance(value, Sequence) and all(
        isinstance(names, Sequence) and not isinstance(names, str) for names in value
    ):
        return Listed(tuple(tuple(names) for names in value))
    raise VirtualPoolError(
        f"rounds is {value!r:.100}; give how many, a list of lists of sites, or a schedule."
    )


def _freeze(schedule: Schedule, *fields: str) -> None:
    # JSON and users give lists; equal schedules must be equal, whoever made them.
    for field in fields:
        value = getattr(schedule, field)
        if value is not None:
            object.__setattr__(schedule, field, tuple(value))


def _check_sizes(sizes: Sequence[int] | None, count: int | None) -> None:
    if sizes is not None and (not sizes or any(size < 1 for size in sizes)):
        raise VirtualPoolError(f"sizes is {list(sizes)}; every round adds at least one site.")
    if count is not None and count < 1:
        raise VirtualPoolError(f"{count} rounds were asked for; at least one is needed.")


def _sizes(sizes: Sequence[int] | None, count: int | None, sites: int) -> list[int]:
    """How many sites each round adds, of that many."""
    if sizes is None:
        rounds = count or 1
        sizes = tuple(sites // rounds + (index < sites % rounds) for index in range(rounds))
    if sum(sizes) > sites or 0 in sizes:
        asked = f"{len(sizes)} rounds" if count else f"sizes that add up to {sum(sizes)}"
        raise VirtualPoolError(f"The schedule has {asked}, for {sites} sites; ask for fewer.")
    return list(sizes)


def _cut(order: Sequence[str], sizes: Sequence[int]) -> Rounds:
    ends = list(accumulate(sizes))
    return [list(order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _needed(sensitivity: Sensitivity | None) -> Sensitivity:
    if sensitivity is None:
        raise VirtualPoolError("This schedule orders the sites by their sensitivity; give one.")
    return sensitivity
