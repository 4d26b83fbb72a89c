"""Latency: how long a model takes, next to others in the same minutes on the same machine."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, overload

import torch
from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.prepared import Conditions, Mode, Timed, check, prepared
from virtualpool.measure.setting import Setting
from virtualpool.measure.spread import quartiles, rounded_quartiles
from virtualpool.measure.timing import interleaved
from virtualpool.schema import Positive, Some, converted
from virtualpool.words import count, some

if TYPE_CHECKING:
    from typing_extensions import Unpack

STEADY = 1.15
"""The most that the quartiles of a steady speed-up are apart, as a factor."""


@dataclass(frozen=True)
class Speedup:
    """A ratio of latencies: median and quartiles of the ratios of paired samples.

    >>> print(Speedup(1.83, 1.8, 1.87))
    1.83x (1.80 to 1.87)
    """

    median: Positive
    lower: Positive
    upper: Positive

    @property
    def spread(self) -> float:
        """How far the quartiles are apart: the upper one by the lower one."""
        return self.upper / self.lower

    @property
    def is_steady(self) -> bool:
        """Whether its quartiles are near to each other, as on a machine that does nothing else."""
        return self.spread <= STEADY

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({self.lower:.2f} to {self.upper:.2f})"

    def to_json(self) -> dict[str, float]:
        """A JSON-able value that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Speedup":
        """The speedup of a value of `to_json`; anything else is a `VirtualPoolError`."""
        return converted(value, cls)


@dataclass(frozen=True)
class Latency:
    """Latency of one model in one setting.

    Attributes:
        samples_ms: milliseconds per call, one sample a repeat; each is the mean of a block.
        setting: the setting of the measurement.

    >>> setting = Setting("cpu", "Xeon", "float32", 1, 2, "eager", True, "2.9.0")
    >>> print(Latency((11.9, 12.3, 12.9), setting))
    12.3 ms (12.1 to 12.6, 3 runs; cpu Xeon, float32, batch 1, 2 threads, eager, channels_last)
    """

    samples_ms: Annotated[tuple[Positive, ...], Some]
    setting: Setting

    @property
    def lower_ms(self) -> float:
        """The lower quartile of the samples."""
        return quartiles(self.samples_ms)[0]

    @property
    def median_ms(self) -> float:
        """The median of the samples."""
        return quartiles(self.samples_ms)[1]

    @property
    def upper_ms(self) -> float:
        """The upper quartile of the samples."""
        return quartiles(self.samples_ms)[2]

    def __str__(self) -> str:
        lower, median, upper = rounded_quartiles(self.samples_ms)
        runs = count(len(self.samples_ms), "run")
        return f"{median} ms ({lower} to {upper}, {runs}; {self.setting})"

    def speedup_over(self, other: "Latency") -> Speedup:
        """How many times faster than `other` this is, sample by sample.

        Measure both in one call of `latency`: samples of a repeat are then neighbours in time, and
        a slow moment of the machine slows both.

        Raises:
            VirtualPoolError: the two were not measured alike.

        >>> setting = Setting("cpu", "Xeon", "float32", 1, 2, "eager", True, "2.9.0")
        >>> print(Latency((10, 10, 12), setting).speedup_over(Latency((20, 21, 24), setting)))
        2.00x (2.00 to 2.05)
        """
        differences = self.setting.differences(other.setting)
        if len(self.samples_ms) != len(other.samples_ms):
            differences.append(f"runs {len(self.samples_ms)} and {len(other.samples_ms)}")
        if differences:
            raise VirtualPoolError(
                f"These latencies cannot be compared: they differ in {', '.join(differences)}. "
                "Measure both models in one call of latency."
            )
        pairs = zip(other.samples_ms, self.samples_ms, strict=True)
        lower, median, upper = quartiles([theirs / mine for theirs, mine in pairs])
        return Speedup(median, lower, upper)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value that `from_json` takes back."""
        return {"samples_ms": list(self.samples_ms), "setting": self.setting.to_json()}

    @classmethod
    def from_json(cls, value: Any) -> "Latency":
        """The latency of a value of `to_json`; anything else is a `VirtualPoolError`."""
        return converted(value, cls)


def noise_in(speedups: Mapping[str, Speedup]) -> str:
    """Which speed-ups are uncertain, by name, in two sentences; empty where none is.

    >>> noise_in({"fused": Speedup(2.0, 1.9, 2.1)})
    ''
    """
    uncertain = [name for name, speedup in speedups.items() if not speedup.is_steady]
    if not uncertain:
        return ""
    return (
        f"The machine was busy: the speed-ups of {some(uncertain)} have quartiles more than "
        f"{STEADY}x apart. Time them again with nothing else running: virtualpool bench MODEL FILE"
    )


class LatencyOptions(Conditions, total=False):
    """The keyword options of `latency`; see there."""

    repeats: int
    duration_s: float | None


@overload
def latency(
    models: nn.Module, example_inputs: Any, **options: "Unpack[LatencyOptions]"
) -> Latency: ...
@overload
def latency(
    models: "Mapping[str, Timed]", example_inputs: Any, **options: "Unpack[LatencyOptions]"
) -> dict[str, Latency]: ...
def latency(
    models: "nn.Module | Mapping[str, Timed]",
    example_inputs: Any,
    *,
    mode: Mode = "eager",
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    batch: int | None = None,
    threads: int | None = None,
    channels_last: bool = True,
    repeats: int = 15,
    duration_s: float | None = None,
) -> Latency | dict[str, Latency]:
    """Measures the time of a forward pass, for one model or for several side by side.

    Every repeat times each model once, in a new order; a sample is the mean of a block of calls of
    50 ms or more, after one call that is not timed. A GPU is waited for at both ends of a block,
    not after each call. The models run as copies, in eval mode and without gradients; all copies
    are in memory at once.

    Args:
        models: one model, or models by name; in place of a model that is called with inputs of its
            own, the model and these.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments.
        mode: `eager`; `compiled` by `torch.compile` with frozen weights and fixed shapes;
            `max-autotune`, the same with more kernels tried, in CUDA graphs on a GPU; or
            `cudagraph`, eager kernels captured in one CUDA graph (a GPU is needed).
        device: where to run; None is where the first model's parameters are.
        dtype: for parameters and inputs (float16, bfloat16, float32, float64); None is as given.
        batch: images per call, made by repeating the inputs' images; None is as given.
        threads: torch's threads while it measures; None is as it is set.
        channels_last: memory layout of weights and maps; otherwise they are made contiguous.
        repeats: samples per model, at most.
        duration_s: seconds per model after which no further repeat begins, though never before 3
            of them.

    Returns:
        A `Latency`, or for models by name a dict of them in the same order.

    Raises:
        VirtualPoolError: an argument is out of range, a model does not run on the inputs, or this
            machine lacks a part of the setting.

    >>> measured = latency(nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 16, 16), repeats=1)
    >>> measured.setting.dtype, measured.setting.batch, len(measured.samples_ms)
    ('float32', 1, 1)
    """
    named = {"the model": models} if isinstance(models, nn.Module) else models
    check(named, mode, duration_s, batch=batch, threads=threads, repeats=repeats)
    with prepared(
        named,
        example_inputs,
        mode=mode,
        device=device,
        dtype=dtype,
        batch=batch,
        threads=threads,
        channels_last=channels_last,
    ) as ready:
        samples = interleaved(ready.functions, ready.device, repeats, duration_s)
    results = dict(zip(named, map(Latency, samples, ready.settings), strict=True))
    return results["the model"] if isinstance(models, nn.Module) else results
