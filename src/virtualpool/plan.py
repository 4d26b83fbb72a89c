"""Which sites of a model are pooled: a value, apart from any model."""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from virtualpool.errors import VirtualPoolError

PLAN_VERSION = 1
_RECORD = "_virtualpool_record"
_WRAPPED = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}


@dataclass(frozen=True)
class PooledSite:
    """One pooled convolution.

    Attributes:
        name: fully-qualified name of the convolution in the model.
        factor: by how much its stride was multiplied, per axis (rows, columns).
    """

    name: str
    factor: tuple[int, int] = (2, 2)


@dataclass(frozen=True)
class Plan:
    """The pooled sites of a model, in the order in which they were pooled.

    >>> plan = Plan((PooledSite("features.0"), PooledSite("features.2")))
    >>> plan.names
    ['features.0', 'features.2']
    >>> Plan.from_json(plan.to_json()) == plan
    True
    """

    sites: tuple[PooledSite, ...] = ()
    version: int = PLAN_VERSION

    @property
    def names(self) -> list[str]:
        """The names of the pooled sites."""
        return [site.name for site in self.sites]

    def extended(self, names: list[str]) -> "Plan":
        """A plan that pools `names` as well."""
        return Plan(self.sites + tuple(PooledSite(name) for name in names))

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return {
            "version": self.version,
            "sites": [{"name": site.name, "factor": list(site.factor)} for site in self.sites],
        }

    @classmethod
    def from_json(cls, value: Any) -> "Plan":
        """The plan of a JSON value; a newer version and anything that is no plan are refused."""
        version = value.get("version") if isinstance(value, dict) else None
        if not isinstance(version, int):
            raise VirtualPoolError(f"Not a plan: {value!r:.200}; a plan has a version and sites.")
        if version > PLAN_VERSION:
            raise VirtualPoolError(
                f"The plan has version {version}; this virtualpool knows {PLAN_VERSION} and older. "
                "Install a newer virtualpool."
            )
        try:
            sites = tuple(_pooled_site(site) for site in value["sites"])
        except (KeyError, TypeError, ValueError) as error:
            raise VirtualPoolError(
                f"Not a plan: {value!r:.200}; its sites need a name and two factors ({error})."
            ) from error
        if len({site.name for site in sites}) != len(sites):
            raise VirtualPoolError("The plan names a site twice; every site can be pooled once.")
        return cls(sites, version)


@dataclass(frozen=True)
class Record:
    """What a pooled model carries.

    Attributes:
        plan: its plan.
        inputs: the description of the example inputs that it was traced with (`inputs.describe`).
        fused_with: what `fuse` was given, with its inputs described; None while it is unfused.
    """

    plan: Plan
    inputs: Any
    fused_with: dict[str, Any] | None = None


def plan_of(model: nn.Module) -> Plan:
    """The plan that a model carries; the empty plan for a model that is not pooled.

    A wrapper (DDP, `torch.compile`) carries the plan of the model inside it, and a model of which
    submodules were pooled carries their plans.

    >>> plan_of(nn.Conv2d(3, 8, 3)).names
    []
    """
    return Plan(
        tuple(
            replace(site, name=join(prefix, site.name))
            for prefix, module in unwrapped(model).named_modules()
            if _RECORD in vars(module)
            for site in vars(module)[_RECORD].plan.sites
        )
    )


def record_of(model: nn.Module) -> Record | None:
    """The record that a model itself carries, if it is pooled as a whole."""
    return vars(model).get(_RECORD)


def attach(model: nn.Module, record: Record) -> None:
    """Makes a model carry a record, in place of those of its submodules."""
    for module in model.modules():
        vars(module).pop(_RECORD, None)
    setattr(model, _RECORD, record)


def wrapper_of(model: nn.Module) -> str | None:
    """The name of the wrapper that a model is, if it is one."""
    return type(model).__name__ if type(model).__name__ in _WRAPPED else None


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside of wrappers.

    >>> unwrapped(nn.DataParallel(nn.Identity()))
    Identity()
    """
    while (kind := wrapper_of(model)) is not None:
        model = getattr(model, _WRAPPED[kind])
    return model


def join(prefix: str, name: str) -> str:
    """A qualified name of two.

    >>> join("backbone", "conv1"), join("", "conv1"), join("backbone", "")
    ('backbone.conv1', 'conv1', 'backbone')
    """
    return f"{prefix}.{name}" if prefix and name else prefix or name


def _pooled_site(value: Any) -> PooledSite:
    rows, columns = value["factor"]
    if (rows, columns) != (2, 2):
        raise ValueError(f"factor {value['factor']}, where only 2 by 2 is known")
    return PooledSite(str(value["name"]), (rows, columns))
