"""Which sites of a model are pooled: a value, apart from any model."""

import functools
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from typing import Any, Literal, get_args

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.schema import converted
from virtualpool.words import count

Follows = Literal["activation", "norm", "conv"]
"""The place of a virtual pool: after the activation, else the norm, else the convolution."""

Border = Literal["exact", "padded"]
"""What convolutions read beside a recovered map: zeros beside the full map, or beside its cells."""

PLAN_VERSION = 2
_LARGEST_SCALE = 16
_RECORD = "_virtualpool_record"
_WRAPPED = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}


@functools.cache
def _library() -> str:
    """The version of virtualpool: to ask for it reads a file."""
    return metadata.version("virtualpool")


@dataclass(frozen=True)
class PooledSite:
    """One pooled convolution; its stride is doubled.

    Attributes:
        name: fully-qualified name of the convolution in the model.
        follows: the operation before its virtual pool; None in plans of version 1, which have none.
    """

    name: str
    follows: Follows | None = None


@dataclass(frozen=True, order=True)
class RecoveredSum:
    """A sum of recovered maps whose virtual pool is behind its activation, not before it.

    Attributes:
        part: fully-qualified name of the part of the model that was traced; empty for the whole.
        number: of the sum, from 0 on, among those activated in one forward of the part.
    """

    part: str
    number: int


@dataclass(frozen=True)
class RecoveredChannels:
    """The recovered ones among the channels that a convolution reads with padded borders.

    Attributes:
        convolution: fully-qualified name, one of the plan's `padded`.
        runs: the first channel of each run of them, and the one after its last.
    """

    convolution: str
    runs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Plan:
    """The pooled sites of a model, in the order in which they were pooled, and its image scale.

    >>> plan = Plan((PooledSite("features.0", "activation"), PooledSite("features.2", "norm")))
    >>> plan.names
    ['features.0', 'features.2']
    >>> Plan.from_json(plan.to_json()) == plan
    True

    Attributes:
        sites: the pooled sites.
        library: the version of virtualpool that pooled them; None where a file does not say.
        border: what convolutions read beside recovered maps.
        padded: the convolutions that read padded borders.
        channels: the recovered channels of convolutions in `padded` that read other maps, too. Only
            these channels have padded borders.
        sums: the sums that are activated on reduced maps, and recovered then.
        image_scale: the side of the images that the network sees, relative to those that the
            original sees.
        version: the version of the plan's format, as in its file; today's where it has no file.
    """

    sites: tuple[PooledSite, ...] = ()
    library: str | None = field(default_factory=_library, compare=False)
    version: int = field(default=PLAN_VERSION, compare=False, repr=False)
    border: Border = "exact"
    padded: tuple[str, ...] = ()
    channels: tuple[RecoveredChannels, ...] = ()
    sums: tuple[RecoveredSum, ...] = ()
    image_scale: float = 1.0

    @property
    def is_empty(self) -> bool:
        """Whether it is the plan of an unmodified model."""
        return not self.sites and self.image_scale == 1

    @property
    def in_words(self) -> str:
        """The plan in a few words.

        >>> Plan((PooledSite("conv"),), image_scale=0.75).in_words
        '1 pooled site, images at scale 0.75'
        """
        sites = [count(len(self.sites), "pooled site")] if self.sites else []
        scale = [f"images at scale {self.image_scale:g}"] if self.image_scale != 1 else []
        return ", ".join(sites + scale)

    @property
    def names(self) -> list[str]:
        """The names of the pooled sites."""
        return [site.name for site in self.sites]

    def extended(
        self,
        sites: Iterable[PooledSite],
        border: Border = "exact",
        padded: Iterable[str] = (),
        sums: Iterable[RecoveredSum] = (),
        channels: Iterable[RecoveredChannels] = (),
    ) -> "Plan":
        """A plan with more sites, convolutions that read padded borders, and sums."""
        return Plan(
            (*self.sites, *sites),
            border=border,
            padded=(*self.padded, *padded),
            channels=(*self.channels, *channels),
            sums=(*self.sums, *sums),
            image_scale=self.image_scale,
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return {
            "version": PLAN_VERSION,
            "virtualpool": self.library,
            "border": self.border,
            **({"padded": list(self.padded)} if self.border == "padded" else {}),
            **({"channels": [asdict(each) for each in self.channels]} if self.channels else {}),
            **({"sums": [asdict(each) for each in self.sums]} if self.sums else {}),
            **({"image_scale": self.image_scale} if self.image_scale != 1 else {}),
            "sites": [{"name": site.name, "follows": site.follows} for site in self.sites],
        }

    @classmethod
    def from_json(cls, value: Any) -> "Plan":
        """The plan of a JSON value of this version or an older one.

        Raises:
            VirtualPoolError: it is no plan, of a newer version, or names something unknown here.
        """
        version = value.get("version") if isinstance(value, dict) else None
        if not isinstance(version, int) or isinstance(version, bool):
            raise VirtualPoolError(f"Not a plan: {value!r:.200}; a plan has a version and sites.")
        if version > PLAN_VERSION:
            raise VirtualPoolError(
                f"The plan has version {version}; this virtualpool knows {PLAN_VERSION} and older. "
                "Install a newer virtualpool."
            )
        written = converted(value, _WrittenPlan, "a plan")
        border = known_border(written.border)
        if other := [site for site in written.sites if site.factor != (2, 2)]:
            raise VirtualPoolError(
                f"The plan pools {other[0].name} by a factor of {other[0].factor}, where only 2 by "
                "2 is known. Pool the model anew."
            )
        if len({site.name for site in written.sites}) != len(written.sites):
            raise VirtualPoolError("The plan names a site twice; every site can be pooled once.")
        sites = tuple(PooledSite(site.name, site.follows) for site in written.sites)
        return cls(
            sites,
            written.virtualpool,
            version,
            border,
            padded=tuple(written.padded),
            channels=tuple(written.channels),
            sums=tuple(written.sums),
            image_scale=known_image_scale(written.image_scale),
        )


@dataclass(frozen=True)
class _WrittenSite:
    """A site in a file; only version 1 has a factor, and only later ones have `follows`."""

    name: str
    follows: Follows | None = None
    factor: tuple[int, int] = (2, 2)


@dataclass(frozen=True)
class _WrittenPlan:
    sites: list[_WrittenSite]
    virtualpool: str | None = None
    border: str = "exact"
    padded: list[str] = field(default_factory=list)
    channels: list[RecoveredChannels] = field(default_factory=list)
    sums: list[RecoveredSum] = field(default_factory=list)
    image_scale: float = 1.0


@dataclass(frozen=True)
class Record:
    """The record that a pooled model carries.

    Attributes:
        plan: its plan.
        inputs: the description of the example inputs that it was traced with (`inputs.describe`),
            as they are once it has resized their images.
        fused_with: the arguments of `fuse`, with its inputs described; None while it is unfused.
    """

    plan: Plan
    inputs: Any
    fused_with: dict[str, Any] | None = None


def known_border(given: Any) -> Border:
    """A border that is known here; another is refused by name.

    >>> known_border("padded")
    'padded'
    """
    if given not in get_args(Border):
        raise VirtualPoolError(
            f"The border is {given!r:.40}, where 'exact' and 'padded' are known. Give one of these "
            "or, where a file says so, install a newer virtualpool."
        )
    return given


def known_image_scale(given: Any) -> float:
    """An image scale that a network can have; another is refused by name.

    >>> known_image_scale(0.75)
    0.75
    """
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    # The limit is for files: one that says a million would take all memory.
    if not is_number or not math.isfinite(given) or not 0 < given <= _LARGEST_SCALE:
        raise VirtualPoolError(
            f"image_scale is {given!r:.40}; it is the side of the network's images relative to the "
            f"original's. Give a number above 0, up to {_LARGEST_SCALE}, such as 0.75."
        )
    return float(given)


def plan_of(model: nn.Module) -> Plan:
    """The plan that a model carries; the empty plan for a model that is not pooled.

    A wrapper (DDP, `torch.compile`) carries the plan of the model inside it, and a model of which
    submodules were pooled carries their plans.

    >>> plan_of(nn.Conv2d(3, 8, 3)).names
    []
    """
    plans: list[tuple[str, Plan]] = [
        (prefix, vars(module)[_RECORD].plan)
        for prefix, module in unwrapped(model).named_modules()
        if _RECORD in vars(module)
    ]
    return Plan(
        tuple(
            replace(site, name=join(prefix, site.name))
            for prefix, plan in plans
            for site in plan.sites
        ),
        border="padded" if any(plan.border == "padded" for _, plan in plans) else "exact",
        padded=tuple(join(prefix, name) for prefix, plan in plans for name in plan.padded),
        channels=tuple(
            replace(each, convolution=join(prefix, each.convolution))
            for prefix, plan in plans
            for each in plan.channels
        ),
        sums=tuple(
            replace(each, part=join(prefix, each.part))
            for prefix, plan in plans
            for each in plan.sums
        ),
        # A submodule's own image scale is not the model's.
        image_scale=next((plan.image_scale for prefix, plan in plans if not prefix), 1.0),
    )


def record_of(model: nn.Module) -> Record | None:
    """The record that a model itself carries, if it is pooled as a whole."""
    return vars(model).get(_RECORD)


def attach(model: nn.Module, record: Record) -> None:
    """Makes a model carry a record, in place of its submodules' records."""
    for module in model.modules():
        vars(module).pop(_RECORD, None)
    setattr(model, _RECORD, record)


def wrapper_of(model: nn.Module) -> str | None:
    """The name of the wrapper that a model is, if it is one."""
    return type(model).__name__ if type(model).__name__ in _WRAPPED else None


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside of wrappers.

    Raises:
        VirtualPoolError: not a module.

    >>> unwrapped(nn.DataParallel(nn.Identity()))
    Identity()
    """
    check_module(model)
    while (kind := wrapper_of(model)) is not None:
        model = getattr(model, _WRAPPED[kind])
    return model


def check_module(model: object) -> None:
    """Refuses everything but modules.

    Raises:
        VirtualPoolError: not a module.
    """
    if isinstance(model, nn.Module):
        return
    advice = (
        "call it, and give the model that it builds."
        if callable(model)
        else "if these are weights, load them into their model and give the model."
    )
    raise VirtualPoolError(f"A torch.nn.Module is expected, not a {type(model).__name__}; {advice}")


def join(prefix: str, name: str) -> str:
    """A qualified name of two.

    >>> join("backbone", "conv1"), join("", "conv1"), join("backbone", "")
    ('backbone.conv1', 'conv1', 'backbone')
    """
    return f"{prefix}.{name}" if prefix and name else prefix or name
