"""The kinds of a traced graph's operations, as far as placing a virtual pool asks."""

import copy
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import fx, nn
from torch.nn import functional

from virtualpool.graph.arguments import arguments_of
from virtualpool.graph.channels import is_close, numbers_of_channels, ran_on_channels
from virtualpool.graph.remembering import remembered
from virtualpool.graph.state import state_kept
from virtualpool.torch_private import (
    NORM_WITH_STATISTICS,
    has_backward_hooks,
    has_forward_hooks,
)

T = TypeVar("T")
Kind = Literal["activation", "norm", "pool", "pass", "other"]

_ACTIVATION_MODULES = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
    nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.ReLU, nn.RReLU, nn.SELU, nn.SiLU,
    nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
_NORM_MODULES = (
    NORM_WITH_STATISTICS, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, nn.RMSNorm,
)  # fmt: skip
_POOL_MODULES = (
    nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.FractionalMaxPool2d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
_PASS_MODULES = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip

_ACTIVATION_NAMES = """
    celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish prelu relu
    relu6 rrelu selu silu sigmoid softplus softshrink softsign tanh tanhshrink threshold clamp clip
""".split()
_NORM_NAMES = ["batch_norm", "group_norm", "instance_norm", "local_response_norm"]
_POOL_NAMES = """
    max_pool2d avg_pool2d lp_pool2d fractional_max_pool2d adaptive_avg_pool2d adaptive_max_pool2d
""".split()
_PASS_NAMES = ["dropout", "dropout2d", "feature_dropout", "alpha_dropout"]


def kind_of(node: fx.Node, module: nn.Module) -> Kind:
    """A node's effect on a map: the kind that matters to the place of a virtual pool.

    Args:
        node: a node of a graph that was traced from `module`.
        module: holds the submodules that the graph calls.
    """
    if node.op == "call_module":
        return module_kind(module.get_submodule(str(node.target)))
    if is_mean_over_space(node):
        return "pool"
    if node.op == "call_function":
        return _FUNCTION_KINDS.get(node.target, "other")
    if node.op == "call_method":
        return _METHOD_KINDS.get(str(node.target), "other")
    return "other"


def module_kind(module: nn.Module) -> Kind:
    """The kind of a module that a graph calls as one operation.

    >>> module_kind(nn.ReLU6()), module_kind(nn.BatchNorm2d(8)), module_kind(nn.Linear(8, 8))
    ('activation', 'norm', 'other')
    """
    if isinstance(module, _ACTIVATION_MODULES):
        return "activation"
    if type(module) in (nn.LayerNorm, nn.RMSNorm):
        # These work on the last axes of a map, so on maps of one size only; a class derived
        # from them (torchvision's LayerNorm2d) moves the channels there first.
        return "other"
    if isinstance(module, _NORM_MODULES):
        # Some libraries (timm) put the activation inside the normalisation.
        inner = any(isinstance(child, _ACTIVATION_MODULES) for child in module.modules())
        is_own = not is_of_pytorch(module)
        return (
            "activation" if inner or (is_own and _kind_by_code(module) == "activation") else "norm"
        )
    if isinstance(module, _POOL_MODULES):
        return "pool"
    if any(isinstance(module, it) and runs_forward_of(module, it) for it in _PASS_MODULES):
        return "pass"
    return "other" if is_of_pytorch(module) else _kind_by_code(module)


def is_known_by_class(module: nn.Module) -> bool:
    """Whether the kind of a module follows from its class: virtualpool 0.1 gave it the same.

    >>> is_known_by_class(nn.BatchNorm2d(8)), is_known_by_class(type("Own", (nn.Module,), {})())
    (True, False)
    """
    if isinstance(module, _NORM_MODULES):
        inner = any(isinstance(child, _ACTIVATION_MODULES) for child in module.modules())
        return module_kind(module) in ("other", "activation" if inner else "norm")
    return is_of_pytorch(module) or isinstance(module, _ACTIVATION_MODULES)


def is_dropout_of_images(module: nn.Module) -> bool:
    """Whether a module of torchvision or timm drops whole images in training, as at a shortcut.

    >>> from torchvision.ops import StochasticDepth
    >>> is_dropout_of_images(StochasticDepth(0.5, "row")), is_dropout_of_images(nn.Dropout())
    (True, False)
    """
    return type(module).__name__ in ("StochasticDepth", "DropPath")


def is_mean_over_space(node: fx.Node) -> bool:
    """Whether a node is `map.mean((2, 3))`: global average pooling, written as arithmetic."""
    if (node.op, node.target) not in (("call_function", torch.mean), ("call_method", "mean")):
        return False
    given = arguments_of(node, ("input", "dim"))
    axes: Any = given.get("dim", given.get("axis"))
    if not isinstance(axes, list | tuple) or not all(isinstance(axis, int) for axis in axes):
        return False
    return sorted(axis % 4 for axis in axes) == [2, 3]


def runs_forward_of(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module runs the `forward` of `kind`, overridden by no class nor by itself.

    >>> runs_forward_of(nn.BatchNorm2d(8), nn.BatchNorm2d), runs_forward_of(nn.ReLU(), nn.Tanh)
    (True, False)
    """
    return type(module).forward is kind.forward and "forward" not in vars(module)


def has_hooks_inside(module: nn.Module) -> bool:
    """Whether somebody wants to know when a module, or one in it, is called."""
    return any(map(is_hooked, module.modules()))


def is_of_pytorch(module: nn.Module) -> bool:
    """Whether the class of a module is PyTorch's, and not a library's or a user's.

    >>> is_of_pytorch(nn.ReLU()), is_of_pytorch(type("Own", (nn.ReLU,), {"__module__": "own"})())
    (True, False)
    """
    return type(module).__module__.startswith("torch.")


def is_hooked(module: nn.Module) -> bool:
    """Whether somebody wants to know when a module is called."""
    return has_forward_hooks(module) or has_backward_hooks(module)


def registered_for(module: nn.Module, registry: Mapping[Any, T]) -> T | None:
    """The entry for the class of a module, or for one that it derives from.

    Nothing, where it has another `forward` than the class.

    >>> registered_for(nn.ReLU6(), {nn.Hardtanh: "a clamp"})
    'a clamp'
    """
    for kind in type(module).__mro__:
        if kind in registry:
            return registry[kind] if runs_forward_of(module, kind) else None
    return None


def is_frozen_batch_norm(module: nn.Module) -> bool:
    """Whether a module in eval mode is batch norm, under any name.

    It subtracts its `running_mean`, multiplies each channel by a number and adds another.

    >>> is_frozen_batch_norm(nn.BatchNorm2d(8).eval()), is_frozen_batch_norm(nn.GroupNorm(1, 8))
    (True, False)
    """
    mean = getattr(module, "running_mean", None)
    if not isinstance(mean, torch.Tensor) or isinstance(mean, nn.Parameter):
        return False
    if runs_forward_of(module, nn.BatchNorm2d):
        return True
    with state_kept(module):
        return _subtracts_its_mean(module.eval())


def _subtracts_its_mean(module: Any) -> bool:
    mean = module.running_mean
    before = numbers_of_channels(module, mean)
    module.running_mean = mean + 1
    after = numbers_of_channels(module, mean)
    if before is None or after is None:
        return False
    (scale, shift), (same, moved) = before, after
    return is_close(scale, same) and is_close(shift - scale, moved)


@remembered
def _kind_by_code(module: nn.Module) -> Kind:
    """The kind of a user's own module that treats all positions alike, as its code says.

    One with an activation in it (`x * sigmoid(x)`, or an activation behind a norm) is one.
    Arithmetic with tensors, such as a scale for each channel, counts as a norm.
    """
    if any(not _may_treat_positions_alike(child) for child in module.modules()):
        return "other"
    # The code may leave state behind, which in a trace holds no values.
    with state_kept(module):
        try:
            traced = copy.copy(module).eval()
            kind = _kind_of_steps(fx.Tracer().trace(traced), traced)
        except Exception:
            kind = "other"
        return _kind_by_run(module.eval()) if kind == "other" else kind


def _may_treat_positions_alike(module: nn.Module) -> bool:
    is_container = type(module) in (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    if is_container or not is_of_pytorch(module):
        return True
    return module_kind(module) in ("activation", "norm", "pass")


def _kind_of_steps(graph: fx.Graph, module: nn.Module) -> Kind:
    """The kind of a graph's effect on its only input."""
    runs = fx.Interpreter(module, graph=graph)
    kinds: list[Kind] = []
    beside: list[Any] = []
    for node in graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        if node.op == "get_attr" or (
            node.all_input_nodes and all(each in runs.env for each in node.all_input_nodes)
        ):
            runs.env[node] = runs.run_node(node)
            continue
        kind = kind_of(node, module)
        if kind == "pool" or (kind == "other" and node.target not in ARITHMETIC):
            return "other"
        kinds.append(kind)
        if kind != "norm":  # a norm's other inputs have a number for each channel
            beside += [runs.env[each] for each in node.all_input_nodes if each in runs.env]
    if len(graph.find_nodes(op="placeholder")) != 1 or any(map(_may_have_positions, beside)):
        return "other"
    if "activation" in kinds:
        return "activation"
    has_tensors = any(isinstance(each, torch.Tensor) for each in beside)
    return "norm" if "norm" in kinds or has_tensors else "other"


def _kind_by_run(module: nn.Module) -> Kind:
    """The kind of a module in eval mode that works on each element by itself, as a run shows.

    It counts as a norm if it multiplies each channel by a number and adds another; else
    it is an activation. It has to have tensors of one length, which is the number of channels.
    """
    tensors = [each for each in [*module.parameters(), *module.buffers()] if each.numel() > 1]
    lengths = {each.numel() for each in tensors}
    if len(lengths) != 1 or not tensors[0].is_floating_point():
        return "other"
    ran = ran_on_channels(module, tensors[0])
    return "other" if ran is None else "norm" if ran[2] else "activation"


def _may_have_positions(value: Any) -> bool:
    is_number = isinstance(value, torch.Tensor) and value.numel() == 1
    return not is_number and tuple(getattr(value, "shape", ()))[-2:] != (1, 1)


def _by_name(names: Sequence[str], *places: Any) -> set[Any]:
    # `relu_` beside `relu`: the same function in place.
    spelled = [spelling for name in names for spelling in (name, name + "_")]
    return {getattr(place, name) for place in places for name in spelled if hasattr(place, name)}


def _kinds(*places: Any) -> dict[Any, Kind]:
    named: list[tuple[Kind, Sequence[str]]] = [
        ("activation", _ACTIVATION_NAMES),
        ("norm", _NORM_NAMES),
        ("pool", _POOL_NAMES),
        ("pass", _PASS_NAMES),
    ]
    return {function: kind for kind, names in named for function in _by_name(names, *places)}


_FUNCTION_KINDS = _kinds(torch, functional)
_METHOD_KINDS: dict[str, Kind] = {
    name: "activation"
    for name in [*_ACTIVATION_NAMES, *(name + "_" for name in _ACTIVATION_NAMES)]
    if hasattr(torch.Tensor, name)
}
ARITHMETIC = {
    *_by_name(["add", "mul", "sub", "div", "exp", "log1p", "pow", "square"], torch),
    *_by_name(["add", "mul", "sub", "truediv", "pow"], operator),
    *["add", "mul", "sub", "div", "exp", "log1p", "pow", "square", "add_", "mul_", "sub_", "div_"],
}
