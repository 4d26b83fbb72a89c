"""The pooled, fused and interpolated parts of a model, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from virtualpool.fuse.report import Report, report_of
from virtualpool.plan import Border, join, plan_of, unwrapped
from virtualpool.table import table
from virtualpool.words import count, some

Form = Literal["fused", "interpolated"]

_UNFUSED = "the model is unfused; virtualpool.fuse gives the equal one on reduced maps"
_REDUCED = "all that read it work on its reduced map"
_ALIKE = 6
"""Sites for the same reason that have a row each."""


@dataclass(frozen=True)
class PooledAs:
    """How one pooled site is computed.

    Attributes:
        site: its name.
        form: "fused", if its map is nowhere interpolated, else "interpolated".
        why: the reason, for people to read.
    """

    site: str
    form: Form
    why: str


@dataclass(frozen=True)
class Summary:
    """The pooled, fused and interpolated parts of a model, and why; its `str` is a table.

    Attributes:
        model: the name of its class.
        sites: the pooled ones, in the order in which they were pooled.
        convolutions: how many the model has in all.
        border: what convolutions read beside recovered maps.
        padded: how many convolutions read padded borders.
        sums: how many sums stay reduced, in one forward.
        image_scale: the side of the images that it sees, relative to the original's.
    """

    model: str
    sites: tuple[PooledAs, ...]
    convolutions: int
    border: Border = "exact"
    padded: int = 0
    sums: int = 0
    image_scale: float = 1.0

    def __str__(self) -> str:
        fused = sum(each.form == "fused" for each in self.sites)
        head = (
            f"{self.model}: {len(self.sites)} of {count(self.convolutions, 'convolution')} pooled"
        )
        if self.image_scale != 1:
            head += f", images at scale {self.image_scale:g}"
        if not self.sites:
            return head
        return (
            f"{head}, {fused} fused, {len(self.sites) - fused} interpolated\n"
            f"{self._border}\n{self._sums}{table(['site', 'map', 'why'], self._rows)}"
        )

    @property
    def _rows(self) -> list[list[str]]:
        """A row for each site; of many sites that are alike, one row."""
        alike: dict[tuple[str, str], list[str]] = {}
        for each in self.sites:
            alike.setdefault((each.form, each.why), []).append(each.site)
        rows = []
        for (form, why), names in alike.items():
            shown = names if len(names) <= _ALIKE else [some(names)]
            rows += [[name, form, why] for name in shown]
        return rows

    @property
    def _border(self) -> str:
        if self.border == "exact":
            return "border exact: beside a recovered map convolutions read zeros, as they did"
        readers = count(self.padded, "convolution")
        return f"border padded: zeros stand beside the reduced map, for {readers} that read it"

    @property
    def _sums(self) -> str:
        if not self.sums:
            return ""
        return (
            f"{count(self.sums, 'sum')} of recovered maps: reduced maps are added and activated, "
            "and the result is recovered\n"
        )


def summary(model: nn.Module) -> Summary:
    """The pooled, fused and interpolated parts of a model, and why.

    Args:
        model: any module: pooled or not, fused or not, in a wrapper such as DDP or not. It does
            not run.

    Returns:
        The parts as a value; its `str` is a table of the pooled sites.

    >>> import torch
    >>> from virtualpool import apply, fuse
    >>> image = torch.zeros(1, 3, 16, 16)
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1))
    >>> print(summary(fuse(apply(model, image), image)))
    PooledSequential: 2 of 2 convolutions pooled, 1 fused, 1 interpolated
    border exact: beside a recovered map convolutions read zeros, as they did
    site  map           why
    0     fused         all that read it work on its reduced map
    2     interpolated  output needs it in full
    """
    inner = unwrapped(model)
    reasons = {
        join(prefix, site): why
        for prefix, module in inner.named_modules()
        if (report := report_of(module)) is not None
        for site, why in _interpolated(report)
    }
    fused = {
        join(prefix, site)
        for prefix, module in inner.named_modules()
        if (report := report_of(module)) is not None
        for site in report.fused
    }
    plan = plan_of(inner)
    sites = tuple(_pooled_as(name, fused, reasons) for name in plan.names)
    convolutions = sum(isinstance(module, nn.Conv2d) for module in inner.modules())
    name = type(inner).__name__
    return Summary(
        name,
        sites,
        convolutions,
        plan.border,
        len(plan.padded),
        len(plan.sums),
        plan.image_scale,
    )


def _pooled_as(name: str, fused: set[str], reasons: dict[str, str]) -> PooledAs:
    if name in fused:
        return PooledAs(name, "fused", _REDUCED)
    inside = [part for part in reasons if not part or name == part or name.startswith(f"{part}.")]
    # The innermost part that a report speaks of is the one that holds for the site.
    return PooledAs(name, "interpolated", reasons[max(inside, key=len)] if inside else _UNFUSED)


def _interpolated(report: Report) -> Iterator[tuple[str, str]]:
    """Sites that a report says are interpolated, and submodules that were left, and why."""
    for each in report.interpolations:
        for site in each.sites:
            yield site, each.why
    for part, why in report.left.items():
        yield part, f"{part or 'the model'} is as it was: {why}"
