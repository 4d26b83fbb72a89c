"""Plans that were tried: what each costs and saves, and whether it is kept."""

from dataclasses import asdict, dataclass
from typing import Any

from virtualpool.measure.latency import STEADY
from virtualpool.schema import Finite, NotNegative, Positive, converted
from virtualpool.search.planning.target import Target
from virtualpool.search.schedule import SMALLEST_DROP
from virtualpool.words import count, some


@dataclass(frozen=True)
class Draft:
    """A plan to try.

    >>> print(Draft(("convs.1", "convs.3"), 0.75))
    2 sites (convs.1, convs.3), images at scale 0.75

    Attributes:
        sites: in the order of execution.
        image_scale: of the images.
    """

    sites: tuple[str, ...]
    image_scale: float = 1.0

    def __str__(self) -> str:
        scale = f"images at scale {self.image_scale:g}"
        if not self.sites:
            return f"{scale} alone"
        sites = f"{count(len(self.sites), 'site')} ({some(self.sites, 4)})"
        return sites if self.image_scale == 1 else f"{sites}, {scale}"


@dataclass(frozen=True)
class Trial:
    """What a plan costs and saves, once its weights are reconstructed.

    Attributes:
        draft: the plan.
        drop: how much lower its score is than the original's: its recoverable drop.
        standard_error: of the drop (paired where it can be), or None where it is not known.
        speedup: how many times faster it is than the original, which was timed interleaved.
        latency_ms: milliseconds of a call, at the original's pace when that was first timed.
        saved_ms: how many fewer these are than the original's.
        readers: the modules that ask for maps of it in full, so that they are interpolated.
        seconds: how long the trial took.
        why: why it was tried.
        is_steady: whether its speed-up could be measured steadily; older files do not say.
    """

    draft: Draft
    drop: Finite
    standard_error: NotNegative | None
    speedup: Positive
    latency_ms: Positive
    saved_ms: Finite
    readers: tuple[str, ...]
    seconds: NotNegative
    why: str
    is_steady: bool = True

    @property
    def cost_per_ms(self) -> float:
        """The recoverable drop for a millisecond saved; infinite where nothing is saved.

        A drop that cannot be told from none counts as its standard error.
        """
        cost = max(self.drop, self.standard_error or 0, SMALLEST_DROP)
        return cost / self.saved_ms if self.saved_ms > 0 else float("inf")

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.4f}"
        return f"{self.draft}: drop {self.drop:.4f}{error}, {self.speedup:.2f}x"

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Trial":
        """The trial of a JSON value; one that is none is refused."""
        return converted(value, cls, "a plan that was tried")


@dataclass(frozen=True)
class Decision:
    """A plan that was tried, whether it becomes a model, and why.

    Attributes:
        trial: of the plan.
        kept: whether it becomes a model.
        reason: in words.
        is_unbeaten: whether no other plan is both faster and better.
    """

    trial: Trial
    kept: bool
    reason: str
    is_unbeaten: bool = False

    @property
    def is_telling(self) -> bool:
        """Whether a short table has it: a kept plan, one that is near to that, an image alone."""
        return self.kept or self.is_unbeaten or not self.trial.draft.sites


@dataclass(frozen=True)
class Plans:
    """The plans of a search for a target.

    Attributes:
        target: the target that was asked for.
        decisions: on every plan that was tried, by rising speed.
        smaller: in a sentence, whether images at another scale paid.
    """

    target: Target
    decisions: tuple[Decision, ...]
    smaller: str

    @property
    def kept(self) -> list[Trial]:
        """The plans that become models, by rising speed."""
        return [each.trial for each in self.decisions if each.kept]

    @property
    def noise(self) -> str:
        """How many plans have an uncertain speed-up, in two sentences; empty where none has."""
        uncertain = sum(not each.trial.is_steady for each in self.decisions)
        if not uncertain:
            return ""
        return (
            f"The machine was busy: {uncertain} of {count(len(self.decisions), 'plan')} had "
            f"speed-ups with quartiles more than {STEADY}x apart, so a wrong plan may be kept. "
            "Search again in another directory, with nothing else running."
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Plans":
        """The plans of a JSON value; one that is none is refused."""
        return converted(value, cls, "the plans of a search")
