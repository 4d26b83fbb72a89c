"""Networks on a device, in the precisions that they are run in there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common.candidates import candidates, with_padded_borders
from benchmarks.common.networks import ALL_CNN_C, images, network, usual_side
from virtualpool.export.checking import difference
from virtualpool.graph.running import evaluating

NETWORKS = ["vgg16", "resnet50", ALL_CNN_C, "efficientnet_b0"]


@dataclass(frozen=True)
class Precision:
    """The precision of a network's computations.

    Attributes:
        dtype: of weights and images.
        tolerance: how far a fused network's outputs may be from the pooled one's, without TF32.
        autocast: the dtype that operations are cast to, if they are.
    """

    dtype: torch.dtype
    tolerance: float
    autocast: torch.dtype | None = None


PRECISIONS = {
    "float32": Precision(torch.float32, 1e-3),
    "bfloat16": Precision(torch.bfloat16, 1e-1),
    "float16": Precision(torch.float16, 1e-1),
    "bfloat16-autocast": Precision(torch.float32, 1e-1, torch.bfloat16),
    "float16-autocast": Precision(torch.float32, 1e-1, torch.float16),
}


class Autocast(nn.Module):
    """A model that runs in autocast."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, images: Tensor) -> Any:
        """Gives the model's outputs."""
        with torch.autocast(images.device.type, self.dtype):
            return self.model(images)


def compared(name: str, batch: int, dtype: str, device: str) -> dict[str, tuple[nn.Module, Tensor]]:
    """The candidates of one network by name, each with its images; outputs are compared before."""
    precision = PRECISIONS[dtype]
    side = usual_side(name)
    given = images(batch, side).to(device, precision.dtype)
    model = network(name, side).to(given)
    found = candidates(model, given) | {"padded": with_padded_borders(model, given)}
    models = {each: (_cast(it.model, precision), it.images) for each, it in found.items()}
    checked(models["fused"][0], models["unfused"][0], given, precision.tolerance)
    padded = _cast(found["padded"].reference, precision)
    checked(models["padded"][0], padded, given, precision.tolerance)
    return models


def checked(fused: nn.Module, pooled: nn.Module, given: Tensor, tolerance: float) -> None:
    """Refuses to time a model that computes something else."""
    with evaluating(fused), evaluating(pooled), _without_tf32():
        found = difference(fused(given), pooled(given))
    if found > tolerance:
        raise SystemExit(f"the fused network's outputs differ from the pooled one's by {found:.1e}")


@contextmanager
def _without_tf32() -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    convolutions = cudnn.conv
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


def _cast(model: nn.Module, precision: Precision) -> nn.Module:
    return Autocast(model, precision.autocast) if precision.autocast else model
