"""RoIAlign: on reduced maps where it is exact there."""

import inspect
from typing import Any

from torch import fx

from virtualpool.fuse.kernels import regions
from virtualpool.fuse.questions.rule import Asked, Builder, Question, Rule, fallback
from virtualpool.fuse.questions.values import Values

_PLACE = "torchvision.ops.roi_align"


class RoIAlign(Rule):
    """RoIAlign with a fixed number of samples reads the reduced map of an interpolated one."""

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        map = _reduced_map(node, values)
        return [
            (source, Question.EVEN if source is map else Question.FULL)
            for source in node.all_input_nodes
        ]

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        map = _reduced_map(node, builder.values)
        if map is None:
            return super().build(node, question, builder)
        given = _arguments(node, builder.values)
        boxes = fx.map_arg(given.pop("boxes"), builder.full)
        del given["input"]
        return builder.call(
            regions.roi_align, builder.even(map), builder.size(map), boxes, *given.values()
        )


_ROI_ALIGN = RoIAlign()


@fallback
def _find(node: fx.Node, values: Values) -> Rule | None:
    # By name: importing torchvision is not cheap.
    module = values.submodule(node)
    operation = node.target if module is None else type(module)
    found = getattr(operation, "__module__", ""), getattr(operation, "__name__", "")
    return _ROI_ALIGN if found in ((_PLACE, "RoIAlign"), (_PLACE, "roi_align")) else None


def _arguments(node: fx.Node, values: Values) -> dict[str, Any]:
    """All arguments of the function, by name; for a module, the ones of its call."""
    from torchvision.ops import roi_align

    signature = inspect.signature(roi_align)
    module = values.submodule(node)
    if module is None:
        bound = signature.bind(*node.args, **node.kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)
    input, boxes = [*node.args, *node.kwargs.values()]
    set_before = {name: getattr(module, name) for name in list(signature.parameters)[2:]}
    return {"input": input, "boxes": boxes} | set_before


def _reduced_map(node: fx.Node, values: Values) -> fx.Node | None:
    """The map whose reduced form can be read instead, if there is one."""
    given = _arguments(node, values)
    map = given["input"]
    is_interpolated = map in values.interpolated and values.size(map) is not None
    return map if is_interpolated and given["sampling_ratio"] > 0 else None
