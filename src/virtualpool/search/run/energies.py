"""The energy of a round's model, interleaved with the unmodified one."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.energy import Energy, energy
from virtualpool.measure.energy.measuring import EnergyOptions
from virtualpool.measure.latency import LatencyOptions
from virtualpool.measure.prepared import Conditions, Timed
from virtualpool.schema import converted, parsed


@dataclass(frozen=True)
class Energies:
    """Energies that were measured interleaved; without a sensor, or where none is asked for, none.

    Attributes:
        unmodified: of the unmodified model.
        kept: of the round's model, in the form that is kept.
        missing: why they could not be measured.
    """

    unmodified: Energy | None = None
    kept: Energy | None = None
    missing: str | None = None

    @property
    def reasons(self) -> dict[str, str]:
        """Why there is no energy, as a point says it."""
        return {"energy": self.missing} if self.missing else {}

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return {
            "unmodified": self.unmodified and self.unmodified.to_json(),
            "kept": self.kept and self.kept.to_json(),
            "missing": self.missing,
        }

    @classmethod
    def from_json(cls, value: Any) -> "Energies":
        """The energies of a JSON value; one that is none is refused."""
        value = parsed(value, unmodified=Energy.from_json, kept=Energy.from_json)
        return converted(value, cls)


def energies(
    unmodified: nn.Module,
    kept: Timed,
    example_inputs: Any,
    latency: LatencyOptions,
    options: EnergyOptions,
) -> Energies:
    """Measures two models; why that cannot be done is a result, too.

    Args:
        unmodified: the unmodified model.
        kept: a round's model, or the unmodified one, also with inputs of its own.
        example_inputs: the inputs to call them with.
        latency: options of `virtualpool.measure.latency`; the ones that both have hold here too.
        options: of `virtualpool.measure.energy`.
    """
    models: dict[str, Timed] = {"unmodified": unmodified}
    if kept is not unmodified:
        models["kept"] = kept
    shared = EnergyOptions()
    for name in Conditions.__optional_keys__ & latency.keys():
        shared[name] = latency[name]
    try:
        found = energy(models, example_inputs, **shared | options)
    except VirtualPoolError as error:
        return Energies(missing=str(error))
    return Energies(found["unmodified"], found.get("kept", found["unmodified"]))
