"""The axes of a network's inputs that stay open in a file, and inputs of other shapes."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

from torch import Tensor, nn
from torch.export import Dim
from torch.nn.functional import interpolate

from virtualpool.errors import VirtualPoolError
from virtualpool.export.format import OpenAxes
from virtualpool.fuse.following import makes_borders
from virtualpool.graph.image_scale import transforms_of
from virtualpool.graph.inputs import (
    as_call,
    batch_size,
    describe,
    from_description,
    map_tensors,
    tensors,
)
from virtualpool.measure.bench import repeated

_NAMES = {0: "batch", 2: "height", 3: "width"}
# Rows and columns more than the example's, of both parities, and as many again for networks that
# take multiples alone.
_GROWN = ((0, 1), (1, 0), (1, 1), (2, 3), (5, 2), (7, 7))
_TIMES = ((1, 2), (2, 1), (2, 2))
_BATCHES = (1, 3, 4)


def dynamic_shapes(inputs: Any, open_axes: OpenAxes, *, named: bool = False) -> Any:
    """The open axes of inputs in the form that `torch.export` takes; none are None.

    Args:
        inputs: see `virtualpool.graph.inputs`.
        open_axes: which ones; rows and columns are of tensors (N, C, H, W).
        named: whether axes have names, as the exporter to ONNX takes them.

    >>> import torch
    >>> dynamic_shapes(torch.zeros(2, 3, 8, 8), "all", named=True)
    ({0: 'batch', 2: 'height', 3: 'width'},)
    """
    if open_axes == "none":
        return None
    arguments, keywords = as_call(inputs)

    def axes(value: Any) -> Any:
        if isinstance(value, Tensor):
            has_sides = open_axes == "all" and value.ndim == 4
            given = [0, 2, 3] if has_sides else [0][: value.ndim]
            return {axis: _NAMES[axis] if named else Dim.DYNAMIC for axis in given}
        if isinstance(value, tuple | list):
            return type(value)(axes(item) for item in value)
        if isinstance(value, dict):
            return {key: axes(item) for key, item in value.items()}
        return None

    return axes(keywords) if keywords else axes(arguments)


def takes_images_singly(model: nn.Module, inputs: Any) -> bool:
    """Whether a model is a detector of torchvision, or is called as one: with a list of images.

    A detector takes a tensor (N, 3, H, W), too, and goes over its images all the same.

    >>> import torch
    >>> takes_images_singly(nn.Identity(), torch.zeros(1, 3, 8, 8))
    False
    """
    arguments, keywords = as_call(inputs)
    has_list = any(isinstance(value, list) for value in (*arguments, *keywords.values()))
    return has_list or bool(transforms_of(model))


def check_open(model: nn.Module, inputs: Any, open_axes: OpenAxes) -> None:
    """Refuses axes that cannot be open: inputs have none, or a model takes one size.

    Raises:
        VirtualPoolError: the model takes a list of images, or no tensor; or rows and columns are
            to be open, and the model is fused with exact borders.
    """
    if open_axes == "all" and makes_borders(model):
        raise VirtualPoolError(
            f"{type(model).__name__} is fused, and the exact borders of its maps depend on whether "
            "rows and columns are odd or even, so open_axes='all' cannot leave these open. Give "
            "open_axes='batch', pool with border='padded', or export the unfused model."
        )
    if open_axes != "none" and (takes_images_singly(model, inputs) or not tensors(inputs)):
        raise VirtualPoolError(
            f"open_axes={open_axes!r} is for inputs in tensors (N, ...), and "
            f"{type(model).__name__} takes others. Leave it out, or export a part of the model "
            'that takes tensors by part="backbone".'
        )


def to_trace(inputs: Any, open_axes: OpenAxes) -> Any:
    """Example inputs to export with: an axis of one is never open, so one image is made two."""
    return repeated(inputs, 2) if open_axes != "none" and batch_size(inputs) == 1 else inputs


def more_inputs(inputs: Any, open_axes: OpenAxes) -> Iterator[Any]:
    """Inputs to compare with: the example, random ones of its shape, then of open axes others.

    >>> import torch
    >>> [tuple(x.shape) for x in more_inputs(torch.zeros(2, 3, 8, 8), "batch")]
    [(2, 3, 8, 8), (2, 3, 8, 8), (1, 3, 8, 8), (3, 3, 8, 8), (4, 3, 8, 8)]
    """
    yield inputs
    yield from_description(describe(inputs))
    if open_axes != "none":
        for batch in _BATCHES:
            yield repeated(inputs, batch)
    if open_axes == "all":
        batches = cycle(_BATCHES)
        for rows, columns in _GROWN:
            yield repeated(_resized(inputs, (1, rows), (1, columns)), next(batches))
        for rows, columns in _TIMES:
            yield _resized(inputs, (rows, 0), (columns, 0))


def _resized(inputs: Any, rows: tuple[int, int], columns: tuple[int, int]) -> Any:
    """Inputs whose images have a multiple of the rows and columns, and so many more."""

    def of_other_size(x: Tensor) -> Tensor:
        if x.ndim != 4 or not x.is_floating_point():
            return x
        height, width = x.shape[-2:]
        size = (rows[0] * height + rows[1], columns[0] * width + columns[1])
        return interpolate(x, size, mode="bilinear")

    return map_tensors(of_other_size, inputs)
