"""The forms of a round's model, unfused and fused, and how fast they are interleaved."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fuse import Report, fuse, report_of
from virtualpool.measure.half_resolution import at_half_resolution
from virtualpool.measure.latency import Latency, LatencyOptions, Timed, latency
from virtualpool.schema import converted, parsed, renamed


@dataclass(frozen=True)
class Times:
    """Latencies that were measured interleaved.

    Attributes:
        unmodified: of the unmodified model.
        unfused: of the pooled model, which interpolates.
        fused: of the same model, fused.
        half_resolution: of the unmodified model there, on which it has as much work as with all of
            its sites pooled.
        missing: why some could not be measured, by name.
    """

    unmodified: Latency
    unfused: Latency | None = None
    fused: Latency | None = None
    half_resolution: Latency | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def keeps_fused(self) -> bool:
        """Whether the fused form is there and is not slower, beyond its spread, than unfused."""
        if self.fused is None:
            return False
        return self.unfused is None or self.fused.speedup_over(self.unfused).upper >= 1

    @property
    def kept(self) -> Latency:
        """The latency of the form that is kept."""
        return (self.fused if self.keeps_fused else self.unfused) or self.unmodified

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        latencies = {name: getattr(self, name) for name in _LATENCIES}
        return {name: it and it.to_json() for name, it in latencies.items()} | {
            "missing": self.missing
        }

    @classmethod
    def from_json(cls, value: Any) -> "Times":
        """The times of a JSON value; one that is none is refused."""
        value = renamed(value, as_written="unfused", half="half_resolution")
        return converted(parsed(value, missing=_now_named), cls)


@dataclass(frozen=True)
class SmallerTimes:
    """Latencies of the unmodified model, interleaved: on the images of a search, and on smaller."""

    unmodified: Latency
    smaller: Latency

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return {"unmodified": self.unmodified.to_json(), "smaller": self.smaller.to_json()}

    @classmethod
    def from_json(cls, value: Any) -> "SmallerTimes":
        """The times of a JSON value; one that is none is refused."""
        return converted(value, cls, "times on smaller images")


def _now_named(missing: Any) -> Any:
    return renamed(missing, half="half_resolution")


_LATENCIES = ("unmodified", "unfused", "fused", "half_resolution")


def fused_if_possible(model: nn.Module, example_inputs: Any) -> tuple[nn.Module | None, Report]:
    """A pooled model fused, if that succeeds, and the report of fusing."""
    try:
        fused = fuse(model, example_inputs)
    # Whatever it is, it must not end a search of hours: the model unfused is there.
    except Exception as error:
        return None, Report(left={"": f"{type(error).__name__}: {error}"})
    return fused, report_of(fused) or Report()


def timed(
    unmodified: nn.Module,
    example_inputs: Any,
    options: LatencyOptions,
    *,
    unfused: Timed | None = None,
    fused: Timed | None = None,
) -> Times:
    """Times models interleaved, and with them the unmodified one at half resolution.

    Args:
        unmodified: the unmodified model.
        example_inputs: the inputs to time the others on.
        options: of `virtualpool.measure.latency`.
        unfused: a pooled model, also with inputs of its own.
        fused: the same model, fused. Where it alone cannot be timed, the others still are.
    """
    forms = {"unmodified": unmodified, "unfused": unfused, "fused": fused}
    models: dict[str, Timed] = {name: form for name, form in forms.items() if form is not None}
    missing: dict[str, str] = {}
    try:
        models["half_resolution"] = at_half_resolution(unmodified, example_inputs)
    except VirtualPoolError as error:
        missing["half_resolution"] = str(error)
    try:
        latencies = latency(models, example_inputs, **options)
    except VirtualPoolError as error:
        if models.pop("fused", None) is None:
            raise
        missing["fused"] = str(error)
        latencies = latency(models, example_inputs, **options)
    return Times(**latencies, missing=missing)
