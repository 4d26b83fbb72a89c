"""What an export gave: printed, as JSON, and as a card beside the file."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from virtualpool.export.checking import Check
from virtualpool.export.format import Format
from virtualpool.measure.agreement import Agreement
from virtualpool.measure.latency import STEADY, Latency, Speedup
from virtualpool.measure.setting import device_name
from virtualpool.plan import plan_of
from virtualpool.summary import summary
from virtualpool.words import count

CARD = ".card.json"
"""The end of the name of a file's card, after the name of the file."""

_SHOWN = 12


@dataclass(frozen=True)
class ExportReport:
    """The result of an export; its `str` is a summary.

    Attributes:
        path: the file.
        format: its name, such as "onnx".
        runtime: the one that ran it, with its version.
        precision: float32, float16 or int8.
        open_axes: "none", "batch" or "all".
        size_bytes: bytes of the file, and of those beside it that belong to it.
        model: the class of the model, its plan, how many of its sites are fused, and the part of it
            that was exported.
        checks: comparisons with the model, in the runtime. Empty for int8, and where the runtime
            is not on this machine.
        agreement: how far an int8 file agrees with the model, on inputs that did not calibrate.
        not_run: why it was not run here, if so.
        operators: how often the file has each.
        latency: the file's latency, where an original was given.
        original_latency: the latency of the original's file, interleaved with it.
        hint: the next step, if there is one.
        score: the model's score, where the caller knows it.
        image_scale: the side of the images that the file takes, relative to those that the model
            takes, which resizes them itself.
        versions: the versions of Python, virtualpool, torch and the format's packages.
        machine: where it was made and timed.
    """

    path: Path
    format: str
    runtime: str
    precision: str
    open_axes: str
    size_bytes: int
    model: dict[str, Any]
    operators: dict[str, int]
    checks: tuple[Check, ...] = ()
    agreement: Agreement | None = None
    not_run: str = ""
    latency: Latency | None = None
    original_latency: Latency | None = None
    hint: str = ""
    score: Mapping[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    image_scale: float = 1.0

    @property
    def difference(self) -> float | None:
        """The largest difference of all checks, relative to the largest output, or None."""
        return max((each.difference for each in self.checks), default=None)

    @property
    def speedup(self) -> Speedup | None:
        """How many times faster the file is than the original's, if both were timed."""
        if self.latency is None or self.original_latency is None:
            return None
        return self.latency.speedup_over(self.original_latency)

    def __str__(self) -> str:
        """A line on each thing."""
        sites = count(self.model["pooled"], "site")
        part = f"{self.model['part']} of " if "part" in self.model else ""
        lines = [
            f"{self.path}: {self.format}, {self.precision}, {self.size_bytes / 1e6:.1f} MB; "
            f"{part}{self.model['name']} with {sites} pooled, {self.model['fused']} of them fused",
            self._checked(),
        ]
        if (speedup := self.speedup) and self.latency and self.original_latency:
            ours, theirs = self.latency.median_ms, self.original_latency.median_ms
            lines.append(
                f"Latency: {ours:.3g} ms, the original {theirs:.3g} ms: {speedup} "
                f"({self.latency.setting})"
            )
        most = sorted(self.operators.items(), key=lambda item: -item[1])
        named = [f"{number} {name}" for name, number in most[:_SHOWN]]
        if len(most) > _SHOWN:
            named.append(f"{count(len(most) - _SHOWN, 'other kind')}")
        lines.append(f"Operators: {', '.join(named)}")
        notes = [self._images(), self._uncertain(), self._slow(), self.hint]
        return "\n".join([*lines, *filter(None, notes)])

    def _images(self) -> str:
        if self.image_scale == 1:
            return ""
        return (
            f"It takes images of {self.image_scale:g} of the side: resize them as you decode them, "
            "bilinearly with antialiasing; the file does not."
        )

    def _uncertain(self) -> str:
        if self.speedup is None or self.speedup.is_steady:
            return ""
        return (
            f"The machine was busy: the speed-up has quartiles more than {STEADY}x apart. Export "
            "again with nothing else running."
        )

    def _slow(self) -> str:
        plan = self.model["plan"]
        exact = plan["sites"] and plan["border"] == "exact"
        if not exact or self.speedup is None or self.speedup.upper >= 1:
            return ""
        return (
            "It is slower than the original: exact borders cost most on small maps. Pool with "
            'border="padded" (virtualpool apply --border padded).'
        )

    def _checked(self) -> str:
        if self.not_run:
            return f"Not run: {self.not_run}. Compare it with the model there before you use it."
        if self.agreement is not None:
            top1 = self.agreement.top1
            same = "" if top1 is None else f"the same class for {top1:.1%}, "
            return (
                f"In {self.runtime}, on {self.agreement.samples} inputs that it was not calibrated "
                f"with: {same}cosine {self.agreement.cosine:.4f}"
            )
        return (
            f"Right in {self.runtime}: the largest difference from the model is "
            f"{self.difference:.2g} of the largest output, on {count(len(self.checks), 'input')} "
            f"({', '.join(dict.fromkeys(each.shapes for each in self.checks))})"
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value, as the card holds it."""
        measured = (self.latency, self.original_latency)
        latency, original = (each and each.to_json() for each in measured)
        own = {
            name: value
            for name, value in vars(self).items()
            if name not in ("latency", "original_latency")
        }
        return own | {
            "path": self.path.name,
            "checks": [vars(each) for each in self.checks],
            "difference": self.difference,
            "agreement": self.agreement and self.agreement.to_json(),
            "latency": latency,
            "original_latency": original,
            "speedup": self.speedup and self.speedup.to_json(),
        }


def described(model: nn.Module, part: str = "") -> dict[str, Any]:
    """The class of a model, its plan, and how many sites are pooled and fused.

    Args:
        model: the whole model.
        part: its submodule that a file holds; the sites in it count. Empty for the whole.
    """
    whole = summary(model)
    inside = [each for each in whole.sites if not part or f"{each.site}.".startswith(f"{part}.")]
    return {
        "name": whole.model,
        "plan": plan_of(model).to_json(),
        "pooled": len(inside),
        "fused": sum(each.form == "fused" for each in inside),
    } | ({"part": part} if part else {})


def versions_for(format: Format) -> dict[str, str]:
    """The versions of what a file of a format depends on."""
    packages = ("virtualpool", "torch", "torchvision", *format.packages)
    return {"python": platform.python_version()} | {
        name: found for name in packages if (found := _version(name))
    }


def this_machine(threads: int) -> dict[str, Any]:
    """The machine, and the threads that the runtime had."""
    processor = device_name(torch.device("cpu"))
    return {"processor": processor, "system": platform.platform(), "threads": threads}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # installed by other means than a package manager
        return ""
