"""`fuse`: a pooled model rewritten into an equal one that works on its reduced maps."""

import copy
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import fx, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fuse.following import HAS_BORDER, Folded
from virtualpool.fuse.kernels import reduced, regions, sites
from virtualpool.fuse.passes import concatenations, constants, layer_norms, own_modules
from virtualpool.fuse.passes.broadcasts import without_expansions
from virtualpool.fuse.passes.convolutions import (
    as_functions,
    fold_batch_norms,
    fold_paddings,
    groups_as_numbers,
    transposed_as_functions,
)
from virtualpool.fuse.passes.in_place import (
    activations_as_functions,
    reuse_memory,
    views_as_shapes,
    without_changes_in_place,
    write_into_frames,
)
from virtualpool.fuse.passes.scales import fold_scales
from virtualpool.fuse.passes.shuffles import name_shuffles
from virtualpool.fuse.passes.unshuffles import fold_unshuffles
from virtualpool.fuse.questions import decisions
from virtualpool.fuse.questions.builder import rebuilt
from virtualpool.fuse.questions.values import UnfusableError, Values
from virtualpool.fuse.report import Report, report_of, report_on
from virtualpool.fuse.report import attach as attach_report
from virtualpool.graph.forward import rewrite_forward
from virtualpool.graph.image_scale import seen_by
from virtualpool.graph.inputs import Call, as_call, describe
from virtualpool.graph.parts import Part, trace
from virtualpool.graph.placement import placement
from virtualpool.graph.remembering import answers_remembered
from virtualpool.graph.running import calls, evaluating
from virtualpool.graph.state import copy_of, state_kept
from virtualpool.operator.pool import virtual_pool
from virtualpool.plan import attach, join, plan_of, record_of
from virtualpool.sites import check_model

logger = logging.getLogger("virtualpool")

T = TypeVar("T")
Prepare = Callable[[], Values]
"""Puts a graph into operations that rules know, and gives the known facts of its values."""


# Where inference mode is on, nobody would see changes in place.
@torch.inference_mode(False)
@answers_remembered()
def fuse(model: nn.Module, example_inputs: Any, *, training: bool = False) -> nn.Module:
    """A new model, in eval mode, that gives a pooled one's outputs without interpolating.

    Convolutions and poolings that read a recovered map are rewritten, exactly, to read the reduced
    map that it was recovered from; batch norms are folded into convolutions. Operations without a
    rule are computed in full, of interpolated maps: equal too, only not faster. `report_of` names
    them, and they are logged to "virtualpool" at level INFO.

    Parameters keep their names. Their folded values are folded anew when they have changed, and
    gradients reach them; a compiled or exported copy cannot ask: call `eval()` before, and after
    each change. In training mode the model computes the same as the unfused one. To fuse a fused
    model gives a copy.

    Args:
        model: a model with virtual pools (`virtualpool.apply`), or with an image scale alone; it is
            not changed. Its resizing of images stays as it is.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments.
        training: fuse the computation in training mode, too, for fine-tuning. Kernels are then
            folded at every call, so that gradients reach the parameters, and batch norm is left as
            it is: in training its statistics need full maps, so a recovered map before it is
            interpolated. The model stays in the mode in which it was given.

    Returns:
        A copy of `model`, on its device. Its outputs have the same shapes and dtypes, and the same
        values to rounding.

    Raises:
        VirtualPoolError: the model has no virtual pool, or does not run on the example inputs.

    >>> import torch
    >>> from virtualpool import apply
    >>> images = torch.rand(1, 3, 32, 32)
    >>> chain = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    >>> pooled = apply(nn.Sequential(*chain).eval(), images)
    >>> fast = fuse(pooled, images)
    >>> torch.allclose(fast(images), pooled(images), atol=1e-6)
    True
    >>> print(report_of(fast))
    1 site fused; 1 map is still interpolated
      2: output needs it in full
    """
    check_model(model)
    fused = copy_of(model)
    if not training:
        fused.eval()
    if report_of(model) is not None:
        return fused
    names = plan_of(model).names
    if plan_of(model).is_empty:
        raise VirtualPoolError(
            f"{type(model).__name__} has no virtual pool, so there is nothing to fuse; "
            "pool it first: virtualpool.apply(model, example_inputs, names)."
        )
    traced = trace(fused, example_inputs)
    with evaluating(fused):
        received = calls_of_parts(fused, traced.parts, example_inputs)
        report = Report()
        for part in traced.parts:
            call = received[part.name]
            report = report.joined(_fuse_part(part, call, names, training=training))
    report = report.joined(Report(left=_left(names, traced.parts, traced.untraced)))
    attach_report(fused, report)
    if record := record_of(fused):  # a model that is pooled in submodules alone has none
        inputs = describe(seen_by(fused, example_inputs))
        fused_with = {"inputs": inputs, "training": training}
        attach(fused, replace(record, fused_with=fused_with))
    logger.info("%s", "\n  ".join(report.brief))
    logger.debug("%s", report)
    return fused


def calls_of_parts(model: nn.Module, parts: list[Part], example_inputs: Any) -> dict[str, Call]:
    """The arguments of each part."""
    if [part.name for part in parts] == [""]:
        return {"": as_call(seen_by(model, example_inputs))}
    return calls(model, example_inputs, torch.clone)


@dataclass(frozen=True)
class Pooled:
    """A model with virtual pools in the graphs of its parts, before it is rewritten.

    Attributes:
        model: with the strides of its sites doubled.
        parts: with virtual pools in the graphs of eval mode.
        received: the arguments of each part.
        names: of the sites.
    """

    model: nn.Module
    parts: list[Part]
    received: dict[str, Call]
    names: list[str]

    def found(self, find: Callable[[Part, fx.Graph, Prepare], Iterable[T]]) -> list[T]:
        """The findings in each part, as `fuse` sees it; the parts stay as they are.

        Of one that is left unfused nothing is found.

        Args:
            find: is given a part, a copy of its graph, and a function that prepares this.
        """
        found: list[T] = []
        with evaluating(self.model):
            for part in self.parts:
                graph, call = copy.deepcopy(part.evaluation), self.received[part.name]
                prepare = partial(_prepared, part, graph, call, self.names, training=False)
                with suppress(UnfusableError):
                    found += find(part, graph, prepare)
        return found


def _fuse_part(part: Part, call: Call, names: list[str], *, training: bool) -> Report:
    if not part.evaluation.find_nodes(op="call_function", target=virtual_pool):
        return Report()
    try:
        return (_fuse_for_training if training else _fuse_for_inference)(part, call, names)
    except UnfusableError as error:
        return Report(left={part.name: str(error)})


def _fuse_for_inference(part: Part, call: Call, names: list[str]) -> Report:
    values = _prepared(part, part.evaluation, call, names, training=False)
    fold_batch_norms(part.evaluation, values)
    fold_scales(part.evaluation, values)
    evaluation, report = _fused(part.evaluation, values)
    makes_border = any(node.target in _BORDERS for node in evaluation.nodes)
    setattr(part.module, HAS_BORDER, makes_border)
    constants.hoist(evaluation, part.module)
    rewrite_forward(part.module, evaluation, part.training, Folded)
    return report


_BORDERS = (reduced.framed, reduced.mended_convolution, regions.roi_align)
"""Operations that ask whether sizes are odd or even."""


def _fuse_for_training(part: Part, call: Call, names: list[str]) -> Report:
    def fused(graph: fx.Graph, *, training: bool) -> tuple[fx.Graph, Report]:
        return _fused(graph, _prepared(part, graph, call, names, training=training))

    evaluation, _ = fused(part.evaluation, training=False)
    training, report = fused(part.training, training=True)
    rewrite_forward(part.module, evaluation, training)
    return report


def _prepared(
    part: Part, graph: fx.Graph, call: Call, names: list[str], *, training: bool
) -> Values:
    """A part's graph in operations that rules know, and the facts about its values."""
    _name_sites(part, graph, names)
    own_modules.without_identities(graph, part.module)
    with state_kept(part.module):
        values = Values(graph, part.module, call, training=training)
        while own_modules.take_apart(graph, values):
            values = Values(graph, part.module, call, training=training)
    without_changes_in_place(graph, values)
    without_expansions(graph, values)
    activations_as_functions(graph, values)
    views_as_shapes(graph)
    as_functions(graph, values)
    transposed_as_functions(graph, values)
    groups_as_numbers(graph, values)
    fold_paddings(graph, values)
    name_shuffles(graph, values)
    return values


def _fused(graph: fx.Graph, values: Values) -> tuple[fx.Graph, Report]:
    decisions.mark(graph, values)
    layer_norms.take_apart(graph, values)
    fold_unshuffles(graph, values)
    concatenations.take_apart(graph, values)
    decisions.mark(graph, values)
    answers = decisions.decide(graph, values)
    builder = rebuilt(graph, values, answers.of)
    write_into_frames(builder.graph)
    reuse_memory(builder.graph)
    builder.graph.lint()
    return builder.graph, report_on(graph, builder, answers)


def _name_sites(part: Part, graph: fx.Graph, names: list[str]) -> None:
    for name in names:
        for convolution in part.calls(graph, name):
            end, _ = placement(convolution, part.module)
            for user in end.users:
                if user.target is virtual_pool:
                    user.meta[sites.NAME] = name


def _left(names: list[str], parts: list[Part], untraced: dict[str, str]) -> dict[str, str]:
    """The submodules with pooled sites in them that no part contains, and why."""
    found = {site for part in parts for site in names if part.calls(part.training, site)}
    lost = [site for site in names if site not in found]
    return {
        name: why
        for name, why in untraced.items()
        if any(site == name or not name or site.startswith(join(name, "")) for site in lost)
    }
