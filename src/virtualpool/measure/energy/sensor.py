"""The sources of joules, and the interface of every reader of them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from virtualpool.schema import converted


@dataclass(frozen=True)
class Sensor:
    """A sensor of energy or of power.

    Attributes:
        name: the sensor and the way that it is read, such as `RAPL`.
        gives: `joules` that it counts by itself, or `watts` that are sampled and integrated.
        interval: seconds between two of its readings; it cannot see shorter work.
    """

    name: str
    gives: Literal["joules", "watts"]
    interval: float

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Sensor":
        """The sensor of a value of `to_json`; anything else is a `VirtualPoolError`."""
        return converted(value, cls)


@runtime_checkable
class Meter(Protocol):
    """A sensor at work. Any object with these two can be given to `energy`."""

    @property
    def sensor(self) -> Sensor:
        """The sensor that it reads."""
        ...

    def joules(self, work: Callable[[], object]) -> dict[str, float]:
        """Calls `work`, once, and gives the joules that were used meanwhile, by power rail.

        The rails are parts that do not overlap, so that their sum is the energy.
        """
        ...
