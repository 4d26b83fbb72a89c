"""The result of an evaluation: a number that may know its error."""

import base64
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.running import evaluating
from virtualpool.measure.unit import Unit
from virtualpool.schema import Count, Finite, NotNegative, converted

Evaluate = Callable[[nn.Module], float]
"""A user's function to judge a model: higher is better. It may return a `Score`."""


class Score(float):
    """A float that may know its standard error and the score of each sample.

    The difference of two scores of the same samples has the paired standard error, which is much
    the smaller one where two models mostly agree; otherwise the errors add up as squares.

    >>> before = Score.of(torch.tensor([1.0, 1.0, 1.0, 0.0]))
    >>> after = Score.of(torch.tensor([1.0, 1.0, 0.0, 0.0]))
    >>> print(before, "|", after, "|", before - after)
    0.7500 ± 0.2500 | 0.5000 ± 0.2887 | 0.2500 ± 0.2500
    >>> print(Score.of(0.75))
    0.7500

    Attributes:
        standard_error: the value's standard error, or None where it is not known.
        samples: how many samples the value is the mean of, or None.
        per_sample: (samples,) float32 tensor, the score of each sample, or None.
        metrics: other measures of the same evaluation, by name, such as "top5".
        unit: the score's meaning and how to write it, or None where it is not known.
    """

    standard_error: float | None
    samples: int | None
    per_sample: Tensor | None
    metrics: dict[str, float]
    unit: Unit | None

    def __new__(
        cls,
        value: float,
        *,
        standard_error: float | None = None,
        samples: int | None = None,
        per_sample: Tensor | None = None,
        metrics: Mapping[str, float] | None = None,
        unit: Unit | None = None,
    ) -> "Score":
        """A score whose details the caller knows."""
        self = super().__new__(cls, value)
        self.standard_error = standard_error
        self.samples = samples
        self.per_sample = per_sample
        self.metrics = dict(metrics or {})
        self.unit = unit
        return self

    @classmethod
    def of(
        cls,
        value: float | Tensor | np.ndarray | Sequence[float],
        metrics: Mapping[str, float] | None = None,
        unit: Unit | None = None,
    ) -> "Score":
        """The score of a plain number, or of a list or 1-D tensor with the score of each sample.

        Raises:
            VirtualPoolError: it is something else.
        """
        if isinstance(value, cls):
            return value
        given = _as_tensor(value)
        if given.ndim:
            each = given.detach().to("cpu", torch.float32)
            return cls(
                each.double().mean().item(),
                standard_error=_standard_error(each),
                samples=len(each),
                per_sample=each,
                metrics=metrics,
                unit=unit,
            )
        return cls(given.item(), metrics=metrics, unit=unit)

    @property
    def summary(self) -> "Score":
        """The same without the score of each sample."""
        return Score(
            self,
            standard_error=self.standard_error,
            samples=self.samples,
            metrics=self.metrics,
            unit=self.unit,
        )

    def __sub__(self, other: float) -> "Score":
        if not isinstance(other, Score):
            return Score(_difference(self, other))
        mine, its = self.per_sample, other.per_sample
        if mine is not None and its is not None and len(mine) == len(its):
            error = _standard_error(mine.double() - its.double())
        elif self.standard_error is not None and other.standard_error is not None:
            error = math.hypot(self.standard_error, other.standard_error)
        else:
            error = None
        samples = self.samples if self.samples == other.samples else None
        return Score(_difference(self, other), standard_error=error, samples=samples)

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.4f}"
        return f"{float(self):.4f}{error}"

    def __repr__(self) -> str:
        samples = "" if self.samples is None else f", {self.samples} samples"
        return f"Score({self}{samples})"

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        value = {
            "value": float(self),
            "standard_error": self.standard_error,
            "samples": self.samples,
            "metrics": self.metrics,
            "unit": self.unit and self.unit.to_json(),
        }
        return value if self.per_sample is None else value | {"per_sample": _pack(self.per_sample)}

    @classmethod
    def from_json(cls, value: Any) -> "Score":
        """The score of a JSON value; one that is none is refused."""
        written = converted(value, _Written, "a score")
        return cls(
            written.value,
            standard_error=written.standard_error,
            samples=written.samples,
            per_sample=_unpack(written.per_sample, written.samples or 0),
            metrics=written.metrics,
            unit=written.unit,
        )


@dataclass(frozen=True)
class _Written:
    """A score in a file; files from before scores had units have none."""

    value: Finite
    standard_error: NotNegative | None = None
    samples: Count | None = None
    metrics: dict[str, Finite] = field(default_factory=dict)
    unit: Unit | None = None
    per_sample: str | None = None


def judge(evaluate: Evaluate, model: nn.Module, subject: str) -> Score:
    """The score that `evaluate` gives a model in eval mode; its training flags are restored.

    Raises:
        VirtualPoolError: `evaluate` is no function, or the score, or a metric of it, is no finite
            number; the message names `subject`.
    """
    if not callable(evaluate):
        raise VirtualPoolError(
            f"evaluate is a {type(evaluate).__name__}; give a function of a model that returns a "
            "number, higher for a better model."
        )
    with evaluating(model):
        value = evaluate(model)
    try:
        score = Score.of(value)
    except (VirtualPoolError, RuntimeError) as error:
        raise VirtualPoolError(
            f"evaluate gave a {type(value).__name__} for {subject}; it must return a number, "
            "higher for a better model."
        ) from error
    if not math.isfinite(score):
        raise VirtualPoolError(
            f"The score of {subject} is {float(score)}: a model or an evaluation that gives no "
            "finite number cannot be ranked. Look at its outputs."
        )
    for name, metric in score.metrics.items():
        if not math.isfinite(metric):
            raise VirtualPoolError(
                f"The metric {name} of {subject} is {metric}, which is no finite number. Leave it "
                "out of the score, or look at the model's outputs."
            )
    return score


def _difference(one: float, other: float) -> float:
    # From 0.91 to 0.90 is a drop of 0.01, not of 0.010000000000000009, which a limit would refuse.
    return round(float(one) - float(other), 12)


def _as_tensor(value: Any) -> Tensor:
    try:
        given = torch.as_tensor(value if isinstance(value, Tensor) else np.asarray(value))
    except (TypeError, ValueError):  # such as a text
        given = torch.empty(0, 0)
    if given.ndim > 1 or given.is_complex():
        kind = f"of shape {tuple(given.shape)}" if given.numel() else repr(value)
        raise VirtualPoolError(
            f"Scores are {kind:.100}; give one number for all samples, or a list with one of each."
        )
    return given


def _standard_error(each: Tensor) -> float | None:
    return each.double().std().item() / math.sqrt(len(each)) if len(each) > 1 else None


# The scores of 50,000 images that are right or wrong take some kilobytes in this form.
def _pack(each: Tensor) -> str:
    return base64.b64encode(zlib.compress(each.numpy().astype("<f4").tobytes())).decode()


def _unpack(text: str | None, samples: int) -> Tensor | None:
    if text is None:
        return None
    try:
        # Some bytes can stand for a thousand times as many: no more than are meant are made.
        most = min(4 * samples, _LARGEST) + 1
        content = zlib.decompressobj().decompress(base64.b64decode(text), most)
        if len(content) != 4 * samples:
            raise ValueError(f"not {samples} numbers")
        return torch.from_numpy(np.frombuffer(content, "<f4").copy())
    except (ValueError, zlib.error) as error:
        raise VirtualPoolError(f"Not the scores of samples: {text!r:.40} ({error}).") from error


_LARGEST = 1 << 29
