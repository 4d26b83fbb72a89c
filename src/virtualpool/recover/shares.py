"""The device that a process trains on, and its share of the batches."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.bench import device_of

if TYPE_CHECKING:
    from accelerate import Accelerator


class _Share:
    """Every n-th batch of any iterable, for one of n processes; all get as many."""

    def __init__(self, batches: Any, index: int, processes: int) -> None:
        self._batches, self._index, self._processes = batches, index, processes

    def __len__(self) -> int:
        return len(self._batches) // self._processes

    def __iter__(self) -> Iterator[Any]:
        return islice(islice(self._batches, self._index, None, self._processes), len(self))


def place(model: nn.Module) -> tuple[torch.device, "Accelerator"]:
    """Where this process trains: where the model is, or on its own device if one of several.

    Raises:
        VirtualPoolError: accelerate has set the process up for another device.
    """
    from accelerate import Accelerator

    device = device_of(model)
    try:
        accelerator = Accelerator(cpu=device.type == "cpu", device_placement=False)
    except ValueError as error:
        raise VirtualPoolError(
            f"The model is on {device}, but accelerate has set this process up for another device "
            f"({error})."
        ) from error
    return device if accelerator.num_processes == 1 else accelerator.device, accelerator


def share(batches: Any, accelerator: "Accelerator") -> Any:
    """The part of the batches that this process trains on."""
    if accelerator.num_processes == 1:
        return batches
    if isinstance(batches, DataLoader):
        return accelerator.prepare_data_loader(batches)
    return _Share(batches, accelerator.process_index, accelerator.num_processes)


def length(batches: Any) -> int:
    """How many batches there are.

    Raises:
        VirtualPoolError: they do not know, or there is none.
    """
    try:
        found = len(batches)
    except TypeError as error:
        raise VirtualPoolError(
            f"Batches of type {type(batches).__name__} have no length, which the schedule needs; "
            "give a DataLoader or a list of batches."
        ) from error
    if found == 0:
        raise VirtualPoolError("There is no batch to train on.")
    return found
