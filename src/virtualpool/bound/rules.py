"""The rules of the operations that are known."""

import math
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from virtualpool.bound.errors import ErrorSize, Gain, repeated, side_by_side, sum_of
from virtualpool.bound.norms import averaging_gain, convolution_norm, matrix_norm, repetitions
from virtualpool.bound.rule import Errors, Operation, UnboundedError, gain_of, join_of
from virtualpool.fuse.passes.convolutions import scaled_weight
from virtualpool.graph.channels import numbers_of_channels
from virtualpool.graph.geometry import padding_sides, pair, size_arguments
from virtualpool.graph.operations import is_frozen_batch_norm
from virtualpool.operator.pool import virtual_pool


@gain_of(nn.Conv2d)
def convolution(operation: Operation) -> Gain:
    """A convolution, with the batch norm in eval mode that alone reads it."""
    module: Any = operation.module
    weight = module.weight
    batch_norm = _norm_after(operation.node, operation.owner)
    if batch_norm is not None:
        weight = scaled_weight(weight, _scale(batch_norm))
    largest_filter = weight.flatten(1).double().norm(dim=1).max().item()
    _, stride, _, dilation = size_arguments(module)
    norm = convolution_norm(weight, stride, dilation, module.groups)
    return Gain(
        math.sqrt(weight[0].numel()) * largest_filter,  # the paper's sqrt(C) M B
        norm * math.sqrt(_repetitions_of_padding(module, operation.input)),
    )


def _repetitions_of_padding(module: Any, x: Tensor) -> int:
    if module.padding_mode in ("zeros", "constant"):
        return 1
    sides = padding_sides(module)
    mode = module.padding_mode
    return repetitions(lambda x: functional.pad(x, sides, mode=mode), (x.shape[-2], x.shape[-1]))


@gain_of(nn.Linear)
def linear(operation: Operation) -> Gain:
    """A fully connected layer: a convolution whose kernel is as large as its map."""
    weight = operation.arguments(("input", "weight"))["weight"].double()
    largest_row = weight.norm(dim=1).max().item()
    return Gain(math.sqrt(weight.shape[1]) * largest_row, matrix_norm(weight))


@gain_of(nn.BatchNorm2d)
def batch_norm(operation: Operation) -> Gain:
    """Batch norm in eval mode: a scale per channel, unless the convolution before it has it."""
    module: Any = operation.module
    if not is_frozen_batch_norm(module):
        raise UnboundedError("it divides by the spread of its input, which may be any number")
    source = operation.sources[0]
    if _norm_after(source, operation.owner) is module:
        return Gain.lipschitz(1.0)
    return Gain.lipschitz(_scale(module).abs().max().item())


def _scale(norm: Any) -> Tensor:
    found = numbers_of_channels(norm, norm.running_mean)
    assert found is not None
    return found[0]


def _norm_after(node: fx.Node, owner: nn.Module) -> nn.Module | None:
    """The batch norm that alone reads a convolution."""
    if node.op != "call_module" or type(owner.get_submodule(str(node.target))) is not nn.Conv2d:
        return None
    users = list(node.users)
    if len(users) != 1 or users[0].op != "call_module":
        return None
    norm = owner.get_submodule(str(users[0].target))
    return norm if is_frozen_batch_norm(norm) else None


_MAX_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")


@gain_of(nn.MaxPool2d, functional.max_pool2d, torch.max_pool2d)
def max_pool(operation: Operation) -> Gain:
    """A maximum changes by no more than one of its values; a value is in so many windows."""
    given = operation.arguments(_MAX_POOL)
    kernel, dilation = pair(given["kernel_size"]), pair(given.get("dilation", 1))
    stride = pair(given.get("stride") or kernel)
    if not isinstance(operation.result, Tensor) or None in (kernel, stride, dilation):
        raise UnboundedError("it gives indices, which jump")
    windows = (
        # The taps that can lie on one position are those with the same remainder.
        -(-taps // (step // math.gcd(step, spread)))
        for taps, step, spread in zip(kernel, stride, dilation, strict=True)  # pyright: ignore
    )
    return Gain(1.0, math.sqrt(math.prod(windows)))


@gain_of(nn.AdaptiveMaxPool2d, functional.adaptive_max_pool2d)
def adaptive_max_pool(operation: Operation) -> Gain:
    """As `max_pool`, with windows from floor(i * H / h) to ceil((i + 1) * H / h)."""
    if not isinstance(operation.result, Tensor):
        raise UnboundedError("it gives indices, which jump")
    windows = map(_most_windows, operation.input.shape[-2:], operation.result.shape[-2:])
    return Gain(1.0, math.sqrt(math.prod(windows)))


def _most_windows(length: int, parts: int) -> int:
    counts = [0] * length
    for part in range(parts):
        for position in range(part * length // parts, -(-(part + 1) * length // parts)):
            counts[position] += 1
    return max(counts)


@gain_of(torch.amax, "amax", torch.amin, "amin")
def largest(operation: Operation) -> Gain:
    """A maximum over whole axes: each value is in one of them."""
    return Gain(1.0, 1.0)


@gain_of(
    nn.AvgPool2d, functional.avg_pool2d, nn.AdaptiveAvgPool2d, functional.adaptive_avg_pool2d,
    torch.mean, "mean", torch.sum, "sum", virtual_pool,
    nn.Identity, torch.clone, "clone", "contiguous", nn.Dropout, nn.Dropout2d, operator.neg,
    nn.Flatten, torch.flatten, "flatten", torch.reshape, "reshape", "view", "unflatten",
    torch.permute, "permute", torch.transpose, "transpose", torch.squeeze, "squeeze",
    torch.unsqueeze, "unsqueeze", "expand", torch.flip, "flip", torch.roll, "roll",
    operator.getitem, torch.chunk, "chunk", torch.split, "split", torch.unbind, "unbind",
    torch.narrow, "narrow", nn.ChannelShuffle, functional.channel_shuffle,
    nn.PixelShuffle, functional.pixel_shuffle, nn.PixelUnshuffle, functional.pixel_unshuffle,
    functional.pad, nn.ConstantPad2d, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d,
)  # fmt: skip
def averaging(operation: Operation) -> Gain:
    """A linear operation whose weights have one sign: means, and all that moves values about."""
    if not isinstance(operation.input, Tensor):
        return Gain(1.0, 1.0)  # one of several tensors
    source = operation.sources[0]
    return averaging_gain(lambda x: operation.call({source: x}), operation.input)


@gain_of(functional.interpolate, nn.Upsample)
def interpolation(operation: Operation) -> Gain:
    """Upsampling; by cubic splines, which have negative weights, it is not known."""
    mode = operation.arguments(_INTERPOLATE).get("mode", "nearest")
    if "cubic" in mode:
        raise UnboundedError("its weights may be negative")
    return averaging(operation)


_INTERPOLATE = ("input", "size", "scale_factor", "mode")


@gain_of(functional.dropout, functional.dropout2d)
def dropout(operation: Operation) -> Gain:
    """Dropout that is switched off."""
    if operation.arguments(("input", "p", "training")).get("training", True):
        raise UnboundedError("it drops values by chance")
    return Gain(1.0, 1.0)


@join_of(
    torch.add, operator.add, operator.iadd, "add", torch.sub, operator.sub, operator.isub, "sub"
)
def addition(operation: Operation, errors: Errors) -> ErrorSize:
    """A sum or a difference."""
    if "alpha" in operation.node.kwargs:
        raise UnboundedError("it multiplies one of its summands")
    return sum_of(_broadcast(operation, errors))


@join_of(torch.maximum, torch.minimum)
def larger(operation: Operation, errors: Errors) -> ErrorSize:
    """The larger of two values changes by no more than one of them."""
    return side_by_side(_broadcast(operation, errors))


@join_of(torch.cat, torch.concat, torch.stack)
def concatenation(operation: Operation, errors: Errors) -> ErrorSize:
    """Values side by side."""
    return side_by_side([error for _, error in errors])


_PRODUCTS = (torch.mul, operator.mul, operator.imul, "mul")


@join_of(*_PRODUCTS, torch.div, operator.truediv, operator.itruediv, "div")
def scaling(operation: Operation, errors: Errors) -> ErrorSize:
    """A product with a number or a parameter, or a quotient by one; of two maps it has no bound."""
    if len(operation.node.args) != 2 or operation.node.kwargs:
        raise UnboundedError("it has arguments without a known bound")
    first, second = operation.node.args
    is_product = operation.node.target in _PRODUCTS
    factor: Any = second if first is errors[0][0] else first
    if len(errors) > 1 or (isinstance(factor, fx.Node) and factor.op != "get_attr"):
        raise UnboundedError("it multiplies or divides two maps, so its slope is another map")
    if factor is first and not is_product:
        raise UnboundedError("it divides by the value with the error")
    values = torch.as_tensor(operation.values.get(factor, factor)).double().abs()
    scale = values.max().item() if is_product else 1 / values.min().item()
    [error] = _broadcast(operation, errors)
    return Gain.lipschitz(scale).of(error)


def _broadcast(operation: Operation, errors: Errors) -> list[ErrorSize]:
    elements = operation.result.numel()
    return [
        repeated(error, elements / operation.values[source].numel()) for source, error in errors
    ]
