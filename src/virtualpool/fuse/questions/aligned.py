"""Bilinear enlargements with aligned corners: how it is known, and how it reads."""

from dataclasses import dataclass
from typing import Any

from torch import fx

from virtualpool.fuse.kernels.aligned import are_odd, scaled_size
from virtualpool.fuse.kernels.enlarging import both
from virtualpool.fuse.questions.enlargements import NAMES, is_enlarging
from virtualpool.fuse.questions.rule import Builder
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.arguments import arguments_of


@dataclass(frozen=True)
class Aligned:
    """A bilinear enlargement with aligned corners, or a reduction, of a map.

    Attributes:
        source: the map before.
        size: the size as it was given; none where factors were.
        factors: along each axis, where no size was given.
        is_odd: whether the result's size is odd on the example inputs, so that its even positions
            can be computed alone.
    """

    source: fx.Node
    size: Any
    factors: tuple[float, float] | None
    is_odd: bool

    @classmethod
    def of(cls, node: Any, values: Values) -> "Aligned | None":
        """A node's one; none where it does something else."""
        if not isinstance(node, fx.Node) or not is_enlarging(node, values):
            return None
        given = arguments_of(node, NAMES, values.submodule(node))
        source, after = given.get("input"), values.size(node)
        is_aligned = given.get("mode") == "bilinear" and given.get("align_corners") is True
        if not isinstance(source, fx.Node) or not is_aligned or given.get("antialias"):
            return None
        if values.size(source) is None or after is None:
            return None
        size, factors = given.get("size"), given.get("scale_factor")
        if size is None:
            both_of_them = tuple(factors) if isinstance(factors, tuple | list) else (factors,) * 2
            if not all(isinstance(each, int | float) for each in both_of_them):
                return None
            factors = both_of_them
        return cls(source, size, factors, are_odd((after[0], after[1])))  # pyright: ignore

    def reads_cells(self, values: Values) -> bool:
        """Whether the reduced map of the map before is enough."""
        size = values.size(self.source)
        is_known = size is not None and are_odd((size[0], size[1]))
        return self.source in values.interpolated and is_known

    def target(self, builder: Builder) -> Any:
        """The size of the result."""
        if self.size is None:
            return builder.call(scaled_size, builder.size(self.source), self.factors)
        return builder.call(both, fx.map_arg(self.size, builder.full))
