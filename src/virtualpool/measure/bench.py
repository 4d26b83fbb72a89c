"""The bench: copies of models and inputs on a device, in a dtype and a memory layout."""

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import batch_size, map_tensors
from virtualpool.graph.state import copy_of
from virtualpool.words import first_line

_DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Bench:
    """Where models are put to be measured: a device, a dtype (None is as given) and a layout."""

    device: torch.device
    dtype: torch.dtype | None
    layout: torch.memory_format

    @classmethod
    def of(
        cls, device: torch.device | str, dtype: torch.dtype | str | None, channels_last: bool
    ) -> "Bench":
        """A bench that this machine has.

        Raises:
            VirtualPoolError: the device cannot be used, or the dtype is not a float.

        >>> Bench.of("cpu", "bfloat16", True).dtype
        torch.bfloat16
        """
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return cls(_usable(device), _floating(dtype), layout)

    def copy_of(self, model: nn.Module) -> nn.Module:
        """A copy of a model, put here."""
        here = copy_of(model).to(device=self.device, dtype=self.dtype)
        for tensor in itertools.chain(here.parameters(), here.buffers()):
            tensor.data = self._laid_out(tensor.data)
        return here

    def inputs(self, example_inputs: Any, batch: int | None) -> Any:
        """Example inputs, put here, repeated to `batch` images (None is as given)."""

        def here(tensor: Tensor) -> Tensor:
            tensor = tensor.detach().to(
                self.device, self.dtype if tensor.is_floating_point() else None
            )
            return self._laid_out(tensor)

        given = example_inputs if batch is None else repeated(example_inputs, batch)
        return map_tensors(here, given)

    def _laid_out(self, tensor: Tensor) -> Tensor:
        # Only tensors with four axes have a place for their channels to go.
        return tensor.contiguous(memory_format=self.layout) if tensor.ndim == 4 else tensor


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters are; the CPU for a model without any."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def dtype_of(model: nn.Module) -> str:
    """The name of the dtype of a model's parameters, such as `float32`."""
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    return str(next(floating, torch.get_default_dtype())).removeprefix("torch.")


def image_count(example_inputs: Any) -> int:
    """How many images example inputs hold.

    Raises:
        VirtualPoolError: none.

    >>> image_count(torch.zeros(2, 3, 8, 8))
    2
    """
    if found := batch_size(example_inputs):
        return found
    raise VirtualPoolError("The example inputs hold no image to measure with; give one or more.")


def repeated(value: Any, batch: int) -> Any:
    """Example inputs with `batch` images, by repeating the images in them.

    >>> repeated(torch.tensor([1, 2]), 3)
    tensor([1, 2, 1])
    """
    # A list holds one image an item, a tensor one a row.
    if isinstance(value, Tensor) and value.ndim > 0:
        return value[torch.arange(batch, device=value.device) % len(value)]
    if isinstance(value, list):
        return [value[index % len(value)] for index in range(batch)]
    if isinstance(value, tuple):
        return tuple(repeated(item, batch) for item in value)
    if isinstance(value, dict):
        return {key: repeated(item, batch) for key, item in value.items()}
    return value


def _usable(device: torch.device | str) -> torch.device:
    cause: Exception | None = None
    try:
        found = torch.empty(0, device=torch.device(device)).device
        if found.type != "meta":
            return found
        reason = "it keeps no values"
    except (RuntimeError, AssertionError) as error:
        cause, reason = error, first_line(error)
    raise VirtualPoolError(
        f'Device {device} cannot be used here ({reason}); give another, such as "cpu".'
    ) from cause


def _floating(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype is None:
        return None
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise VirtualPoolError(f"dtype {name} is not measured; give one of {', '.join(_DTYPES)}.")
    return getattr(torch, name)
