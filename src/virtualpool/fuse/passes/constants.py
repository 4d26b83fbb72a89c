"""What depends on a model's parameters alone is computed once, and again when they are loaded."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fuse.kernels.folding import fold, spread
from virtualpool.fuse.kernels.layer_norm import bias_of_shifted, scaled_columns
from virtualpool.fuse.onnx.fixed_sizes import of_fixed_sizes
from virtualpool.fuse.passes.convolutions import norm_scale, scaled_weight, shifted_bias
from virtualpool.graph.forward import ForwardCode, Rewritten, original_class

_FOLDS = (
    fold, spread, norm_scale, scaled_weight, shifted_bias, scaled_columns, bias_of_shifted,
)  # fmt: skip
_FOLDING = "_virtualpool_folding"
_PREFIX = "_virtualpool_folded_"


def hoist(graph: fx.Graph, module: nn.Module) -> None:
    """Moves what a graph computes from parameters alone out of it, into buffers of the module.

    The buffers are no part of the state, so checkpoints of the model fit as before. They are made
    anew whenever a state is loaded; where the module is `Folded`, also when it moves and in `eval`.
    """
    constant = _merged(_constants(graph))
    results = [
        node
        for node in graph.nodes
        if node in constant
        and node.op != "get_attr"
        and any(user not in constant for user in node.users)
    ]
    if not results:
        return
    folding = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in constant:
            copies[node] = folding.node_copy(node, copies.__getitem__)
    folding.output(tuple(copies[node] for node in results))
    _erase_unused(folding)
    setattr(module, _FOLDING, ForwardCode.of(folding))
    for number, (node, value) in enumerate(zip(results, _folded(module), strict=True)):
        module.register_buffer(f"{_PREFIX}{number}", value, persistent=False)
        with graph.inserting_before(node):
            node.replace_all_uses_with(graph.get_attr(f"{_PREFIX}{number}"))
    _erase_unused(graph)
    module.register_load_state_dict_post_hook(_refold_after_loading)


class Folded(Rewritten):
    """Comes before the class of a fused module: what was folded follows its parameters."""

    def inputs_for_evaluation(self, inputs: Any) -> Any:
        """See `Rewritten`."""
        return of_fixed_sizes(inputs, self.original_class.__name__)

    def train(self, mode: bool = True) -> Any:
        """See `torch.nn.Module`; in eval mode what was learned is folded."""
        super().train(mode)  # pyright: ignore[reportAttributeAccessIssue]
        if not mode:
            refold(self)  # pyright: ignore[reportArgumentType]
        return self

    def _apply(self, fn: Any, *arguments: Any, **keywords: Any) -> Any:
        # A class of somebody else's may take the function alone.
        super()._apply(fn, *arguments, **keywords)  # pyright: ignore[reportAttributeAccessIssue]
        # From parameters of another dtype, not what was rounded in the one before.
        refold(self)  # pyright: ignore[reportArgumentType]
        return self


def refold(module: nn.Module) -> None:
    """Computes what a module has folded from its parameters as they are now.

    Raises:
        VirtualPoolError: they have other shapes than before, as after pruning.
    """
    if _FOLDING not in vars(module):
        return
    for number, value in enumerate(_folded(module)):
        buffer = module.get_buffer(f"{_PREFIX}{number}")
        if buffer.shape != value.shape:
            raise VirtualPoolError(
                f"{original_class(module).__name__} is fused, and what it had folded to a shape of "
                f"{tuple(buffer.shape)} now has {tuple(value.shape)}: its parameters have other "
                "shapes than when it was fused. Prune the model first, or the pooled one as it is "
                "written, and fuse then: virtualpool.fuse(pruned, example_inputs)."
            )
        # In place: it keeps its memory format, and may be part of a captured CUDA graph.
        buffer.copy_(value)


@torch.no_grad()
def _folded(module: nn.Module) -> tuple[Tensor, ...]:
    return getattr(module, _FOLDING).function(module)


def _refold_after_loading(module: nn.Module, incompatible_keys: Any) -> None:
    refold(module)


def _constants(graph: fx.Graph) -> list[fx.Node]:
    constant: dict[fx.Node, None] = {}
    for node in graph.nodes:
        # Only what is known to depend on its inputs alone.
        is_known = node.op == "get_attr" or node.target in _FOLDS
        if is_known and constant.keys() >= set(node.all_input_nodes):
            constant[node] = None
    return list(constant)


def _merged(constants: list[fx.Node]) -> set[fx.Node]:
    """One in place of all that are computed alike: a convolution may be called several times."""
    first: dict[Any, fx.Node] = {}
    for node in constants:
        key = node.op, node.target, str(node.args), str(node.kwargs)
        same = first.setdefault(key, node)
        if same is not node:  # PyTorch 2.9 refuses to put a node in place of itself
            node.replace_all_uses_with(same)
    return set(first.values())


def _erase_unused(graph: fx.Graph) -> None:
    for node in reversed(graph.nodes):
        if not node.users and (node.op == "get_attr" or node.target in _FOLDS):
            graph.erase_node(node)
