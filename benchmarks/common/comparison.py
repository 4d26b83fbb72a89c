"""Candidates compared in one runtime: first their outputs, then their times, interleaved."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy
import torch

from benchmarks.common.candidates import NAMES, Candidate
from benchmarks.common.engines import ENGINES, Engine, Run, in_eager, outputs
from benchmarks.common.setting import setting
from benchmarks.common.times import median, three_digits, timed_interleaved
from virtualpool.export.checking import difference
from virtualpool.measure.timing import threads as torch_threads

PERCENTILES = {"10th percentile": 10, "median": 50, "90th percentile": 90}
"""Those of `Comparison.percentile` that say how far the samples lie apart."""

SPEEDS = "Milliseconds of the unmodified network, then how many times faster the others are:"
"""The caption of a table with the rows of `speeds`."""

NOTHING = "–"
UNMODIFIED = NAMES[0]


@dataclass(frozen=True)
class Comparison:
    """The results of the candidates of a network in one runtime.

    Attributes:
        network: its name.
        batch: images per call.
        engine: the runtime, by its name in `ENGINES`.
        setting: the setting of the measurement.
        differences: of each candidate's outputs from PyTorch's in the same precision, relative to
            the largest output.
        samples_ms: of each candidate that was timed, milliseconds per call.
        failures: why a candidate was not timed.
    """

    network: str
    batch: int
    engine: str
    setting: str
    differences: dict[str, float] = field(default_factory=dict)
    samples_ms: dict[str, Sequence[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def ratio(self, name: str, over: str = "unmodified") -> float | None:
        """How many times faster than `over` a candidate is; None if one of them was not timed."""
        if not {name, over} <= self.samples_ms.keys():
            return None
        return median(self.samples_ms[over]) / median(self.samples_ms[name])

    def times_faster(self, name: str, over: str = "unmodified") -> str:
        """The ratio as a text."""
        ratio = self.ratio(name, over)
        return NOTHING if ratio is None else f"{ratio:.2f}"

    def percentile(self, name: str, per_cent: float) -> str:
        """The milliseconds that so many per cent of a candidate's samples do not exceed."""
        if name not in self.samples_ms:
            return NOTHING
        return three_digits(float(numpy.percentile(self.samples_ms[name], per_cent)))

    def median_ms(self, name: str) -> str:
        """The median of a candidate."""
        return self.percentile(name, 50)

    def difference(self, name: str) -> str:
        """How far a candidate's outputs are from PyTorch's."""
        return f"{self.differences[name]:.0e}" if name in self.differences else NOTHING

    def remarks(self) -> list[str]:
        """Which candidates were not timed, and why."""
        return [f"{name} was not timed: {why}" for name, why in self.failures.items()]

    def __str__(self) -> str:
        """The findings before timing, in one line."""
        found = ", ".join(f"{name} {self.difference(name)}" for name in self.differences)
        head = f"{self.network}, batch {self.batch}, {ENGINES[self.engine].title}"
        return "; ".join([f"{head}: differences from PyTorch: {found}", *self.remarks()])

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Comparison":
        """The comparison of a value of `to_json`."""
        return cls(**value)


def compare(
    candidates: dict[str, Candidate],
    network: str,
    engine: str,
    *,
    duration_s: float,
    threads: int,
    folder: Path | None = None,
) -> Comparison:
    """Compares candidates; prints their outputs' differences before it takes any time.

    Args:
        candidates: by name.
        network: its name.
        engine: the name of the runtime.
        duration_s: seconds of timing, per candidate.
        threads: of the runtime.
        folder: where ONNX files are, or come to be; None is a temporary one.
    """
    if folder is None:
        with TemporaryDirectory() as temporary:
            return compare(
                candidates,
                network,
                engine,
                duration_s=duration_s,
                threads=threads,
                folder=Path(temporary),
            )
    batch = len(next(iter(candidates.values())).images)
    comparison = Comparison(network, batch, engine, setting(threads, ENGINES[engine].packages))
    with torch_threads(threads):
        runs = {}
        for name, candidate in candidates.items():
            file = folder / f"{name.replace(',', '')}.onnx"  # at a comma OpenVINO ends a path
            its_engine = candidate.engine or ENGINES[engine]
            run = _checked(name, candidate, its_engine, file, threads, comparison)
            if run is not None:
                runs[name] = run
        print(comparison, flush=True)
        comparison.samples_ms.update(timed_interleaved(runs, duration_s))
    return comparison


def _checked(
    name: str, candidate: Candidate, engine: Engine, file: Path, threads: int, into: Comparison
) -> Run | None:
    """A function that runs a candidate, or None if it does not run or gives something else."""
    try:
        expected = in_eager(candidate.reference, candidate.images, engine.dtype)()
        run = engine.ready(candidate.model, candidate.images, file, threads)(candidate.images)
        into.differences[name] = difference(outputs(run), expected)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        into.failures[name] = f"{type(error).__name__}: {reason}"
        return None
    allowed = _allowed(name, engine, into)
    if into.differences[name] > allowed:
        into.failures[name] = f"its outputs differ by more than {allowed:.0e}"
        return None
    return run


def _allowed(name: str, engine: Engine, comparison: Comparison) -> float:
    """How much a candidate may differ from PyTorch.

    In bfloat16 two runtimes round a deep network of random weights so differently that no number
    says how much is too much. There the unmodified network's own difference is the measure.
    """
    if engine.dtype is not torch.bfloat16:
        return engine.tolerance
    if name == UNMODIFIED:
        return 1.0
    return max(engine.tolerance, 2 * comparison.differences.get(UNMODIFIED, 0.0))


def runtime(comparison: Comparison) -> str:
    """The title of a comparison's column."""
    return ENGINES[comparison.engine].title


def speeds(names: Mapping[str, str]) -> dict[str, Callable[[Comparison], str]]:
    """The rows of a table of comparisons: unmodified in milliseconds, the others in times faster.

    Args:
        names: for each title of a row its candidate.
    """
    return {f"{UNMODIFIED}, ms": partial(Comparison.median_ms, name=UNMODIFIED)} | {
        title: partial(Comparison.times_faster, name=name) for title, name in names.items()
    }


def notes(comparisons: list[Comparison]) -> list[str]:
    """The notes below a table of comparisons."""
    remarks = [
        f"- {each.engine}, batch {each.batch}: {remark}"
        for each in comparisons
        for remark in each.remarks()
    ]
    return [*remarks, *sorted({each.setting for each in comparisons}), ""]
