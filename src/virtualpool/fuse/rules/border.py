"""A map with padded borders: convolutions look through it, at the map that it is made of."""

from typing import Any

from torch import fx

from virtualpool.fuse.questions.rule import Builder, Rule, rule
from virtualpool.operator.border import padded_border, padded_size


@rule(padded_border)
class PaddedBorder(Rule):
    """Made in full only where a convolution that reads it cannot read the reduced map."""

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        source, padding, *_ = node.args
        return builder.call(padded_size, builder.size(source), padding)  # pyright: ignore
