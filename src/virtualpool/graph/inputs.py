"""Example inputs: how a model is called, and more inputs of the same kind.

Example inputs are a tensor, a tuple (positional arguments), a dict (keyword arguments; any mapping,
such as an image processor of Hugging Face gives), or anything else (the only argument, such as the
list of images that a detector takes).
"""

import copy
import math
import reprlib
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError

_LARGEST = 512 << 20

Call = tuple[tuple[Any, ...], dict[str, Any]]


def as_call(example_inputs: Any) -> Call:
    """Example inputs as positional and keyword arguments.

    >>> as_call((1, 2)), as_call({"image": 1}), as_call([1, 2])
    (((1, 2), {}), ((), {'image': 1}), (([1, 2],), {}))
    """
    if isinstance(example_inputs, tuple):
        return example_inputs, {}
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    return (example_inputs,), {}


def call(model: nn.Module, example_inputs: Any) -> Any:
    """Calls a model with example inputs.

    >>> call(nn.Flatten(), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 12])
    """
    arguments, keywords = as_call(example_inputs)
    return model(*arguments, **keywords)


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Applies `function` to every tensor inside tuples, lists and dicts; the rest stays.

    Dicts of other classes keep their class, such as the outputs of networks of Hugging Face.

    >>> map_tensors(lambda x: x[:1], {"images": [torch.zeros(2)], "fast": True})
    {'images': [tensor([0.])], 'fast': True}
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, item) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(map_tensors(function, item) for item in value)
    if isinstance(value, Mapping):
        return _like(value, {key: map_tensors(function, item) for key, item in value.items()})
    return value


def _like(mapping: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """Other values for the names of a mapping, in its class if that can be changed."""
    if type(mapping) is dict or not isinstance(mapping, MutableMapping):
        return values
    changed = copy.copy(mapping)
    for name, value in values.items():  # no `update`: some classes refuse it
        changed[name] = value
    return changed


def tensors(value: Any) -> list[Tensor]:
    """Every tensor inside tuples, lists and dicts, in order.

    >>> [len(x) for x in tensors({"a": torch.zeros(2), "b": (torch.zeros(3), 1)})]
    [2, 3]
    """
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in tensors(item)]
    return [value] if isinstance(value, Tensor) else []


def images_in(batch: Any) -> Any:
    """The images of a batch: itself, the first of (images, labels), or the images in a dict.

    A list of tensors (C, H, W) is itself the images, as detectors take them. Of a dict, such as
    the data sets of Hugging Face give, they are the only tensor (N, C, H, W).

    Raises:
        VirtualPoolError: a dict has no such tensor, or several.

    >>> images_in((torch.zeros(2, 3, 8, 8), torch.zeros(2))).shape
    torch.Size([2, 3, 8, 8])
    >>> images_in({"pixel_values": torch.zeros(2, 3, 8, 8), "labels": torch.zeros(2)}).shape
    torch.Size([2, 3, 8, 8])
    >>> len(images_in([torch.zeros(3, 8, 8), torch.zeros(3, 9, 6)]))
    2
    """
    if isinstance(batch, Mapping):
        return _images_of_dict(batch)
    if not isinstance(batch, tuple | list):
        return batch
    are_images = isinstance(batch, list) and all(
        isinstance(each, Tensor) and each.ndim == 3 for each in batch
    )
    return batch if are_images else batch[0]


def _images_of_dict(batch: Mapping[Any, Any]) -> Tensor:
    found = [each for each in batch.values() if isinstance(each, Tensor) and each.ndim == 4]
    if len(found) != 1:
        raise VirtualPoolError(
            f"A batch is a dict of {', '.join(map(str, batch))}, and {len(found)} of these are "
            "tensors (N, C, H, W). Give one such tensor, the images, and the labels as 'labels'."
        )
    return found[0]


def labels_in(batch: Any) -> Any:
    """The labels of a batch: the second of (images, labels), or `labels` or `label` of a dict.

    None where there are none.

    >>> labels_in((torch.zeros(2, 3, 8, 8), [1, 7])), labels_in({"labels": 3})
    ([1, 7], 3)
    >>> labels_in(torch.zeros(2, 3, 8, 8))
    """
    if isinstance(batch, Mapping):
        return batch.get("labels", batch.get("label"))
    return None if images_in(batch) is batch or len(batch) < 2 else batch[1]


def batch_size(example_inputs: Any) -> int:
    """The number of images: the first axis of a batch, or the length of a list of images.

    >>> batch_size(torch.zeros(8, 3, 32, 32)), batch_size([torch.zeros(3, 32, 40)] * 2)
    (8, 2)
    """
    arguments, keywords = as_call(example_inputs)
    first = next(iter([*arguments, *keywords.values()]), None)
    if isinstance(first, list):
        return len(first)
    found = tensors(first)
    if not found or found[0].ndim == 0:
        raise VirtualPoolError("The example inputs hold no batch: give a tensor of shape (N, ...).")
    return found[0].shape[0]


def describe(example_inputs: Any) -> Any:
    """Example inputs as a JSON-able value: shapes and dtypes in place of tensors.

    >>> describe(torch.zeros(1, 3, 8, 8))
    {'tensor': [1, 3, 8, 8], 'dtype': 'float32'}
    """
    if isinstance(example_inputs, Tensor):
        dtype = str(example_inputs.dtype).removeprefix("torch.")
        return {"tensor": list(example_inputs.shape), "dtype": dtype}
    if isinstance(example_inputs, tuple | list):
        kind = "tuple" if isinstance(example_inputs, tuple) else "list"
        return {kind: [describe(item) for item in example_inputs]}
    if isinstance(example_inputs, Mapping):
        return {"dict": {str(key): describe(item) for key, item in example_inputs.items()}}
    if example_inputs is None or isinstance(example_inputs, bool | int | float | str):
        return {"value": example_inputs}
    raise VirtualPoolError(
        f"Example inputs hold a {type(example_inputs).__name__}, which a file cannot describe; "
        "give tensors, numbers and texts in tuples, lists and dicts."
    )


def from_description(description: Any) -> Any:
    """Random inputs of a description: uniform in [0, 1) for floats, zeros for the rest.

    Raises:
        VirtualPoolError: it is no description, or one of tensors of more than half a GiB.

    >>> from_description(describe([torch.zeros(3, 8, 9)]))[0].shape
    torch.Size([3, 8, 9])
    """
    check_size(description)
    return _made(description)


def check_size(description: Any) -> None:
    """Refuses inputs that are so large that a small file would take all memory to load."""
    if (size := _bytes(description)) > _LARGEST:
        raise VirtualPoolError(
            f"The example inputs have {size >> 20} MiB; a file may hold {_LARGEST >> 20} at most. "
            "Give fewer or smaller images as the example."
        )


def _bytes(description: Any) -> int:
    match description:
        case {"tensor": list(shape), "dtype": str(dtype)} if all(map(_is_length, shape)):
            return math.prod(shape) * max(4, _dtype(dtype).itemsize)
        case {"tuple": list(items)} | {"list": list(items)}:
            return sum(map(_bytes, items))
        case {"dict": dict(items)}:
            return sum(map(_bytes, items.values()))
        case {"value": None | bool() | int() | float() | str()}:
            return 0
    raise VirtualPoolError(
        f"Not a description of inputs: {reprlib.repr(description)}; expected a value of describe."
    )


def _made(description: Any) -> Any:
    match description:
        case {"tensor": shape, "dtype": dtype}:
            return _random(shape, _dtype(dtype))
        case {"tuple": items}:
            return tuple(_made(item) for item in items)
        case {"list": items}:
            return [_made(item) for item in items]
        case {"dict": items}:
            return {key: _made(item) for key, item in items.items()}
    return description["value"]


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise VirtualPoolError(f"The example inputs have dtype {name!r:.40}, which PyTorch lacks.")
    return dtype


def for_model(example_inputs: Any, model: nn.Module) -> Any:
    """Example inputs on the device of a model's weights; floats get the weights' dtype."""
    weight = next((each for each in model.parameters() if each.is_floating_point()), None)
    if weight is None:
        return example_inputs
    return map_tensors(
        lambda tensor: tensor.to(
            weight.device, weight.dtype if tensor.is_floating_point() else tensor.dtype
        ),
        example_inputs,
    )


def _random(shape: list[int], dtype: torch.dtype) -> Tensor:
    try:
        if not dtype.is_floating_point:
            return torch.zeros(shape, dtype=dtype)
        # Its own generator: to load a model must not change the caller's random numbers.
        return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    except RuntimeError as error:
        raise VirtualPoolError(
            f"Example inputs of shape {shape!r:.80} and {dtype} cannot be made ({error})."
        ) from error
