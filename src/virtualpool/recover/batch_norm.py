"""Batch-norm statistics measured anew: recovery without training."""

from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import islice
from typing import Any

from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fuse import report_of
from virtualpool.graph.forward import original_class
from virtualpool.graph.inputs import map_tensors
from virtualpool.graph.running import evaluating
from virtualpool.recover.batches import images_of
from virtualpool.recover.limits import STEPS
from virtualpool.recover.round import Round
from virtualpool.torch_private import BATCH_NORM


def by_recalibration(
    batches: Iterable[Any], *, batch_count: int | None = None
) -> Callable[..., None]:
    """Recovery by measuring the statistics of batch norm anew, without labels or gradients.

    Serves as the `finetune` of `search` and as the `recalibrate` of `sensitivity`. Only the
    running means and variances change: each becomes the average over the batches.

    Args:
        batches: batches of images, or of tuples that start with images, varied as in training:
            without its crops statistics can cost points by themselves
            (docs/results/frontier.md).
        batch_count: use only the first ones.

    Returns:
        A function of a model, and of a `Round` if there is one. It changes the model's batch norms
        in place.

    Raises:
        VirtualPoolError: `batch_count` is no whole number above 0. Of the callable: the model is
            fused, it has no batch norm with running statistics, there is no batch, or a statistic
            is not finite.

    >>> import torch
    >>> model = nn.Sequential(nn.BatchNorm2d(1))
    >>> by_recalibration([torch.full((2, 1, 4, 4), 3.0), torch.full((2, 1, 4, 4), 5.0)])(model)
    >>> model[0].running_mean
    tensor([4.])
    """
    if batch_count is not None:
        STEPS.check("batch_count", batch_count)

    def recalibrate(model: nn.Module, current: Round | None = None) -> None:
        _refuse_fused(model)
        norms = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, BATCH_NORM) and module.running_mean is not None
        }
        if not norms:
            raise VirtualPoolError(
                f"{type(model).__name__} has no batch norm with running statistics to measure "
                "anew; recover by labels or by distillation."
            )
        _measure(model, [*norms.values()], _observed(batches, batch_count, current))
        for name, module in norms.items():
            if not all(bool(value.isfinite().all()) for value in _statistics(module)):
                raise VirtualPoolError(f"{name}: a statistic measured anew is not finite.")

    return recalibrate


def _refuse_fused(model: nn.Module) -> None:
    # Its batch norms are folded into convolutions, or read reduced maps: they see other values.
    for name, module in model.named_modules():
        if report_of(module) is not None:
            raise VirtualPoolError(
                f"{name or original_class(module).__name__} is fused, so its batch norms do not "
                "see the full maps. Measure the statistics of the unfused model, then fuse it: "
                "virtualpool.fuse(pooled, example_inputs)."
            )


def _observed(
    batches: Iterable[Any], batch_count: int | None, current: Round | None
) -> Iterator[Any]:
    """The first batches; the observer of a round is told of each when it is done with."""
    total = len(batches) if isinstance(batches, Sized) else batch_count or 0
    total = min(total, batch_count or total)
    for done, batch in enumerate(islice(batches, batch_count), 1):
        yield batch
        if current is not None:
            current.observer(current.name, done, max(total, done), "batch norm measured anew")


def _measure(model: nn.Module, norms: list[BATCH_NORM], batches: Iterable[Any]) -> None:
    device = _statistics(norms[0])[0].device
    momenta = [module.momentum for module in norms]
    seen = False
    with evaluating(model):
        try:
            for module in norms:
                module.reset_running_stats()
                module.momentum = None  # a cumulative average
                module.train()
            for batch in batches:
                model(map_tensors(lambda tensor: tensor.to(device), images_of(batch)))
                seen = True
        finally:
            for module, momentum in zip(norms, momenta, strict=True):
                module.momentum = momentum
    if not seen:
        raise VirtualPoolError("There is no batch to measure the statistics of batch norm on.")


def _statistics(module: BATCH_NORM) -> list[Tensor]:
    return [value for value in (module.running_mean, module.running_var) if value is not None]
