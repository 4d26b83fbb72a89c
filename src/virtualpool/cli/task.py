"""A network and the data that it is judged by, as the command line names them."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from virtualpool import processes
from virtualpool.cli.data import Preparation
from virtualpool.cli.network import device_of, example_images, load_network
from virtualpool.cli.terminal import messages
from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.classification import Classification, load_data


@dataclass(frozen=True)
class Task:
    """A network and the data that it is judged by.

    Attributes:
        module: the network, on its device.
        data: the images.
        images: example inputs, (1, 3, size, size), on the same device.
        settings: what a run must be given alike when it goes on.
    """

    module: nn.Module
    data: Classification
    images: torch.Tensor
    settings: dict[str, Any]

    @property
    def training_batches(self) -> Any:
        """The batches to recover with."""
        if self.data.train is None:
            raise VirtualPoolError(
                "The data have no training images; add a folder train beside the test images, or "
                "leave out what trains (--recover none, no --recalibrate)."
            )
        return self.data.train

    def say_skipped(self) -> None:
        """Says how many images could not be read, and which first."""
        if skipped := self.data.skipped:
            count = "1 image" if len(skipped) == 1 else f"{len(skipped)} images"
            was = "was" if len(skipped) == 1 else "were"
            first = ", ".join(skipped[:5])
            messages().print(f"{count} could not be read and {was} left out: {first}")


def open_task(
    model: str,
    weights: str | None,
    source: str,
    preparation: Preparation,
    *,
    device: str | None,
    batch_size: int,
    subset: int | None,
    workers: int,
    seed: int,
) -> Task:
    """Loads a network and opens the data, prepared for it.

    Processes that were launched together are connected by this.
    """
    where = device_of(device)
    processes.join(on_cpu=where.type == "cpu")
    with processes.main_first():
        network = load_network(model, weights)
        prepared = preparation.for_images(source, network)
        data = load_data(
            source,
            preprocessing=prepared,
            batch_size=batch_size,
            subset=subset,
            workers=workers,
            seed=seed,
        )
    images = example_images(network, prepared.size).to(where)
    settings = {
        "data": source,
        "images": asdict(prepared),
        "test images": subset or "all",
        "batch size": batch_size,
        "device": where.type,
    }
    return Task(network.module.to(where), data, images, settings)
