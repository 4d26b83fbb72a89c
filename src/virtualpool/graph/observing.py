"""The convolutions of a model as they are seen while it runs: shapes, work, and samples kept."""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from virtualpool.graph.geometry import keeps_samples
from virtualpool.graph.inputs import as_call
from virtualpool.graph.running import evaluating, run
from virtualpool.graph.state import state_kept
from virtualpool.torch_private import CONVOLUTION


@dataclass
class Observed:
    """A convolution as it was seen while the model ran."""

    names: list[str]
    module: Any
    macs: int = 0
    in_shapes: list[tuple[int, ...]] = field(default_factory=list)
    out_shape: tuple[int, ...] = ()
    keeps_samples: bool = True

    def record(self, x: Tensor, out: Tensor) -> None:
        """Notes a call; the shapes are from the first one."""
        # A transposed convolution works once for each input position, the others for each output.
        positions = (x if self.module.transposed else out).shape[-len(self.kernel) :]
        self.macs += self.module.weight.numel() * math.prod(positions)
        self.in_shapes.append(tuple(x.shape))
        if len(self.in_shapes) > 1:
            return
        self.out_shape = tuple(out.shape)
        if isinstance(self.module, nn.Conv2d):
            self.keeps_samples = keeps_samples(self.module, x, out)

    @property
    def kernel(self) -> tuple[int, ...]:
        """The kernel size per axis, of the weight that it has now."""
        return tuple(self.module.weight.shape[2:])

    @property
    def in_shape(self) -> tuple[int, ...]:
        """The shape that it read first."""
        return self.in_shapes[0] if self.in_shapes else ()

    @property
    def reads_pyramid(self) -> bool:
        """Whether each map that it read had at most half the height and width of the one before."""
        return all(
            after <= (before + 1) // 2
            for larger, smaller in pairwise(self.in_shapes)
            for before, after in zip(larger[-2:], smaller[-2:], strict=True)
        )


def observed(model: nn.Module, example_inputs: Any) -> dict[str, Observed]:
    """Runs the model and watches its convolutions, in the order of execution."""
    watched: dict[nn.Module, Observed] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, CONVOLUTION):
            watched.setdefault(module, Observed([], module)).names.append(name)
    executed: list[Observed] = []

    def record(module: nn.Module, arguments: Any, keywords: Any, out: Tensor) -> None:
        seen = watched[module]
        if not seen.in_shapes:
            executed.append(seen)
        seen.record(arguments[0] if arguments else keywords["input"], out)

    # Before the model's own hooks: an output changed by them is not the convolution's.
    handles = [
        module.register_forward_hook(record, with_kwargs=True, prepend=True) for module in watched
    ]
    try:
        with evaluating(model), state_kept(model):
            run(model, as_call(example_inputs))
    finally:
        for handle in handles:
            handle.remove()
    unreached = [seen for seen in watched.values() if not seen.in_shapes]
    return {seen.names[0]: seen for seen in executed + unreached}
