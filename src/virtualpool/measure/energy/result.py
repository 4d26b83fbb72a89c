"""The energy of a model: joules per image, with all that they depend on."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.energy.sensor import Sensor
from virtualpool.measure.setting import Setting
from virtualpool.measure.spread import quartiles, rounded_quartiles
from virtualpool.schema import Finite, Positive, Some, Whole, converted, renamed
from virtualpool.words import count

Idle = Literal["include", "subtract"]


@dataclass(frozen=True)
class Share:
    """One model's energy as a part of another's: median and quartiles of paired samples.

    >>> print(Share(0.452, 0.44, 0.46))
    45% (44% to 46%)
    """

    median: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.median:.0%} ({self.lower:.0%} to {self.upper:.0%})"


@dataclass(frozen=True)
class Energy:
    """Energy of one model in one setting, from blocks of calls, one block a repeat.

    Attributes:
        rails: joules of each block as the sensor gave them, by power rail; the sum counts.
        duration_s: how many seconds each block took.
        images: how many images each block had.
        idle_watts: the power before, with nothing to do, which is subtracted; None leaves it in.
        sensor: the sensor that was read.
        setting: the setting of the measurement.

    >>> setting = Setting("cpu", "Xeon", "float32", 1, 2, "eager", True, "2.9.0")
    >>> rails = {"package-0": (40.0, 42.0, 41.0), "package-0 dram": (4.0, 4.0, 4.0)}
    >>> sensor = Sensor("RAPL", "joules", 0.001)
    >>> measured = Energy(rails, (2.0, 2.0, 2.0), (100, 100, 100), 10.0, sensor, setting)
    >>> for part in str(measured).split("; "):  # (40 + 4 - 2 * 10) / 100
    ...     print(part)
    0.250 J per image (0.245 to 0.255, 22.5 W, 3 runs of 2.0 s, 10.0 W when idle subtracted
    RAPL: package-0, package-0 dram
    cpu Xeon, float32, batch 1, 2 threads, eager, channels_last)
    """

    rails: Annotated[dict[str, tuple[Finite, ...]], Some]
    duration_s: Annotated[tuple[Positive, ...], Some]
    images: tuple[Whole, ...]
    idle_watts: Finite | None
    sensor: Sensor
    setting: Setting

    def __post_init__(self) -> None:
        if {len(each) for each in (*self.rails.values(), self.images)} != {len(self.duration_s)}:
            raise VirtualPoolError("An energy has as many joules of each rail as blocks.")

    @property
    def joules(self) -> tuple[float, ...]:
        """Joules of each block, of all rails, idle power included."""
        return tuple(map(sum, zip(*self.rails.values(), strict=True)))

    @property
    def samples_j(self) -> tuple[float, ...]:
        """Joules per image, one sample a repeat, idle power subtracted if it was measured."""
        blocks = zip(self.joules, self.duration_s, self.images, strict=True)
        idle = self.idle_watts or 0.0
        return tuple((joules - idle * seconds) / images for joules, seconds, images in blocks)

    @property
    def lower_j(self) -> float:
        """The lower quartile of the samples."""
        return quartiles(self.samples_j)[0]

    @property
    def median_j(self) -> float:
        """The median of the samples."""
        return quartiles(self.samples_j)[1]

    @property
    def upper_j(self) -> float:
        """The upper quartile of the samples."""
        return quartiles(self.samples_j)[2]

    @property
    def watts(self) -> float:
        """The mean power during all blocks, idle power included."""
        return sum(self.joules) / sum(self.duration_s)

    @property
    def source(self) -> str:
        """The sensor and its rails."""
        return f"{self.sensor.name}: {', '.join(self.rails)}"

    @property
    def how(self) -> str:
        """How it was measured, apart from the setting."""
        runs = f"{count(len(self.duration_s), 'run')} of {quartiles(self.duration_s)[1]:.1f} s"
        idle = self.idle_watts
        less = "" if idle is None else f", {idle:.1f} W when idle subtracted"
        return f"{runs}{less}; {self.source}"

    def __str__(self) -> str:
        lower, median, upper = rounded_quartiles(self.samples_j)
        return (
            f"{median} J per image ({lower} to {upper}, {self.watts:.1f} W, {self.how}; "
            f"{self.setting})"
        )

    def share_of(self, other: "Energy") -> Share:
        """This as a share of another model's energy, sample by sample.

        Raises:
            VirtualPoolError: the two were not measured alike, in one call of `energy`.
        """
        differences = self.setting.differences(other.setting)
        pairs = {
            "sensor": (self.source, other.source),
            "watts when idle": (self.idle_watts, other.idle_watts),
            "runs": (len(self.duration_s), len(other.duration_s)),
        }
        differences += [f"{name} {a} and {b}" for name, (a, b) in pairs.items() if a != b]
        if differences:
            raise VirtualPoolError(
                f"These energies cannot be compared: they differ in {', '.join(differences)}. "
                "Measure both models in one call of energy."
            )
        samples = zip(self.samples_j, other.samples_j, strict=True)
        lower, median, upper = quartiles([mine / theirs for mine, theirs in samples])
        return Share(median, lower, upper)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Energy":
        """The energy of a value of `to_json`; anything else is a `VirtualPoolError`."""
        return converted(renamed(value, seconds="duration_s"), cls)
