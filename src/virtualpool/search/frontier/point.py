"""One model of a frontier."""

from dataclasses import dataclass, field
from typing import Any

from virtualpool.measure.energy import Energy, Share
from virtualpool.measure.latency import Latency, Speedup
from virtualpool.measure.unit import Unit
from virtualpool.plan import Plan
from virtualpool.schema import (
    Finite,
    NotNegative,
    Whole,
    converted,
    parsed,
    renamed,
)

_MEASURED: dict[str, type[Latency] | type[Energy]] = {
    "latency": Latency,
    "baseline": Latency,
    "unfused": Latency,
    "fused": Latency,
    "half_resolution": Latency,
    "energy": Energy,
    "energy_baseline": Energy,
}


@dataclass(frozen=True)
class Point:
    """One model of a frontier.

    Attributes:
        name: "original", or the round's name.
        accuracy: its score.
        standard_error: the accuracy's standard error, or None where it is not known.
        latency: how long it takes.
        baseline: how long the unmodified model takes, measured interleaved with it.
        speedup: how many times faster it is than the unmodified model, from the pairs of samples.
        macs: multiply-accumulates per image.
        plan: which sites are pooled, and at which image scale.
        weights: its file, relative to the frontier's directory; None for the original.
        metrics: other measures of the same evaluation, by name.
        drop: how much lower the accuracy is than the original's.
        drop_standard_error: the drop's standard error (paired where it can be), or None where it
            is not known.
        over_limit: whether the drop was more than the search's `max_drop`, which ended it.
        unfused: how long it takes with its maps interpolated, as in the paper.
        fused: how long it takes fused. `latency` is one of the two: the fused form's, unless
            this is slower or not there; the file gives the same form.
        half_resolution: how long the unmodified model takes at half resolution; its accuracy there
            is not measured.
            All four are interleaved, and None where they were not measured.
        energy: the joules that it takes, where they were measured.
        energy_baseline: the joules that the unmodified model takes, measured interleaved with it.
        missing: why `fused`, `half_resolution` or `energy` could not be measured.
        unit: the score's meaning and how to write it, or None where it is not known.
    """

    name: str
    accuracy: Finite
    standard_error: NotNegative | None
    latency: Latency
    baseline: Latency
    speedup: Speedup
    macs: Whole
    plan: Plan
    weights: str | None
    metrics: dict[str, Finite] = field(default_factory=dict)
    drop: Finite = 0.0
    drop_standard_error: NotNegative | None = None
    over_limit: bool = False
    unfused: Latency | None = None
    fused: Latency | None = None
    half_resolution: Latency | None = None
    energy: Energy | None = None
    energy_baseline: Energy | None = None
    missing: dict[str, str] = field(default_factory=dict)
    unit: Unit | None = None

    @property
    def pooled(self) -> str:
        """How many sites are pooled, and at which image scale, for a table."""
        scale = self.plan.image_scale
        return str(len(self.plan.sites)) + ("" if scale == 1 else f" at scale {scale:g}")

    @property
    def is_smaller(self) -> bool:
        """Whether it is the unmodified model on smaller images."""
        return not self.plan.sites and self.plan.image_scale < 1

    @property
    def is_fused(self) -> bool:
        """Whether the model is the fused one."""
        return self.fused is not None and self.fused == self.latency

    @property
    def energy_share(self) -> Share | None:
        """Its share of the unmodified model's energy, if that was measured."""
        return self.energy and self.energy_baseline and self.energy.share_of(self.energy_baseline)

    def speedup_of(self, latency: Latency | None) -> Speedup | None:
        """How many times faster than the unmodified model one of the other latencies is."""
        return latency and latency.speedup_over(self.baseline)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        measured = {name: getattr(self, name) for name in _MEASURED}
        return (
            vars(self)
            | {name: it and it.to_json() for name, it in measured.items()}
            | {"speedup": self.speedup.to_json(), "plan": self.plan.to_json()}
            | {"unit": self.unit and self.unit.to_json()}
        )

    @classmethod
    def from_json(cls, value: Any) -> "Point":
        """The point of a JSON value; one that is none is refused."""
        value = parsed(
            _with_scale(renamed(value, as_written="unfused", half="half_resolution")),
            plan=Plan.from_json,
            energy=Energy.from_json,
            energy_baseline=Energy.from_json,
            missing=lambda missing: renamed(missing, half="half_resolution"),
        )
        return converted(value, cls, "a point of a frontier")

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.4f}"
        unit = f" {self.unit.name}" if self.unit else ""
        speed = f"{self.speedup}, {self.latency.median_ms:.4g} ms, {self.macs / 1e6:.4g} M MACs"
        if self.energy:
            speed += f", {self.energy.median_j:.3g} J per image"
        form = ", fused" if self.is_fused else ", unfused" if self.unfused else ""
        beside = {
            "unfused": self.unfused if self.is_fused else None,
            "fused": None if self.is_fused else self.fused,
            "half resolution": self.half_resolution,
        }
        others = ", ".join(
            f"{name} {speedup.median:.2f}x"
            for name, latency in beside.items()
            if (speedup := self.speedup_of(latency))
        )
        scale = self.plan.image_scale
        what = "" if self.is_smaller else f"{len(self.plan.sites)} pooled"
        scaled = "" if scale == 1 else f"images at scale {scale:g}"
        what = ", ".join(filter(None, [what, scaled]))
        return f"{self.name}: {self.accuracy:.4f}{error}{unit}, {speed}, {what}{form}" + (
            f" ({others})" if others else ""
        )


def _with_scale(value: Any) -> Any:
    """A JSON value whose plan has the image scale; virtualpool 0.1 had it beside the plan."""
    match value:
        case {"side": side, "plan": {**plan}}:
            return value | {"plan": {"image_scale": side} | plan}
    return value
