"""Which convolutions of a pooled model read padded borders, if it is to have such."""

from collections import defaultdict
from typing import Any

import torch
from torch import fx

from virtualpool.fuse.fusing import Pooled, Prepare
from virtualpool.fuse.kernels.folding import axes
from virtualpool.fuse.passes import concatenations, layer_norms
from virtualpool.fuse.passes.convolutions import MODULE
from virtualpool.fuse.questions import decisions
from virtualpool.fuse.questions.values import Values
from virtualpool.fuse.rules.convolution import reads_padded
from virtualpool.graph.geometry import padding_sides
from virtualpool.graph.parts import Part
from virtualpool.operator.border import Runs, padded_border

Reader = tuple[str, Runs]
"""The name of a convolution, and which channels it reads so; none are all."""


def padded_readers(pooled: Pooled) -> dict[str, Runs]:
    """The convolutions that read a reduced map, with zeros around it, in a fused model.

    Of one that reads other maps beside it, the channels of the reduced map are told, too. It is
    decided by the questions by which `fuse` decides, and kept in the plan: the model's function
    does not depend on how it is fused. A convolution of which only some calls read a recovered map
    is none of them, nor is one with hooks or with a `forward` of its own.
    """
    return dict(pooled.found(_readers))


def _readers(part: Part, graph: fx.Graph, prepare: Prepare) -> list[Reader]:
    values = prepare()
    # One that has zeros around its reduced map is asked as the others are.
    _read_padded(graph, values)
    decisions.mark(graph, values)
    layer_norms.take_apart(graph, values)
    concatenations.border_parts(graph, values)
    runs = _runs(graph)
    concatenations.take_apart(graph, values)
    decisions.mark(graph, values)
    answers = decisions.decide(graph, values)
    read: dict[str, list[bool]] = {}
    for node in graph.find_nodes(op="call_function", target=torch.conv2d):
        if MODULE in node.meta and concatenations.REST not in node.meta:
            reads = node in answers.of and reads_padded(node, answers.of[node], values)
            read.setdefault(node.meta[MODULE], []).append(reads)
    return [
        (full, runs[name].pop())
        for name, each in read.items()
        if all(each)
        and len(runs[name]) == 1
        and (full := part.full_name(name))
        and len(part.calls(part.training, full)) == len(each)
    ]


def _runs(graph: fx.Graph) -> dict[str, set[Runs]]:
    """Which channels each convolution reads with padded borders, in all of its calls."""
    found: dict[str, set[Runs]] = defaultdict(set)
    for node in graph.find_nodes(op="call_function", target=torch.conv2d):
        if MODULE in node.meta:
            source: Any = node.args[0]
            has_runs = source.target is padded_border and len(source.args) == 3
            found[node.meta[MODULE]].add(source.args[2] if has_runs else ())
    return found


def _read_padded(graph: fx.Graph, values: Values) -> None:
    """Lets each convolution read padded borders that reads between or beside cells."""
    for node in graph.find_nodes(op="call_function", target=torch.conv2d):
        if MODULE not in node.meta:
            continue
        convolution: Any = values.module.get_submodule(node.meta[MODULE])
        arguments: Any = node.args
        source, weight, bias, stride, padding, dilation, groups = arguments
        left, _, above, _ = padding_sides(convolution)
        kernel = convolution.weight.shape[2:]
        if source.target is padded_border or (above, left) != padding:
            continue  # it does already, or a padding before it was taken into its own
        if all(axis.skips_odd for axis in axes(kernel, (above, left), dilation)):
            continue
        with graph.inserting_before(node):
            bordered = graph.call_function(padded_border, (source, (above, left)))
        node.args = (bordered, weight, bias, stride, (0, 0), dilation, groups)
