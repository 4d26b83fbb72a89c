"""Fine-tuning of a pooled detector towards the maps of the original."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.image_scale import relative_scale
from virtualpool.graph.inputs import images_in, tensors
from virtualpool.recover.distances import distance_of_sites, mean_relative_square
from virtualpool.recover.limits import WEIGHT
from virtualpool.recover.objectives import Loss, teacher
from virtualpool.recover.round import Finetune, Round
from virtualpool.recover.scaled_maps import ScaledMaps
from virtualpool.recover.settings import TrainingOptions, distilling
from virtualpool.recover.site_maps import SiteMap, maps_of, outputs_to, site_maps
from virtualpool.recover.training import train
from virtualpool.tasks.detection.loss import detector_loss

if TYPE_CHECKING:
    from typing_extensions import Unpack

_BACKBONE = "backbone"


def by_detector_distillation(
    original: nn.Module,
    batches: Iterable[Any],
    *,
    features: float = 1.0,
    labels: float = 0.0,
    sites: float = 40.0,
    **settings: "Unpack[TrainingOptions]",
) -> Finetune:
    """Fine-tuning of a detector of torchvision towards the maps that the original gives.

    The loss is the mean squared relative change of the backbone's maps, plus the same for the maps
    of the pooled sites at their even positions (see `virtualpool.by_distillation`), plus the
    detector's own losses.

    Args:
        original: the detector as it was; a copy of it teaches, in eval mode.
        batches: pairs of a list of images and a list of targets, gone through once an epoch.
        features: the weight of the backbone's maps.
        labels: the weight of the detector's own losses by the targets.
        sites: the weight of the pooled sites' maps; 0 leaves them out.
        settings: the fields of `virtualpool.recover.Training`, with the defaults of
            `virtualpool.by_distillation`.

    Returns:
        A `finetune(model, round)` for `search`, which trains the model in place.

    Raises (when called):
        VirtualPoolError: the model has no `backbone`, or resizes images to sizes drawn at random.
    """
    training = distilling(settings)
    for name, weight in {"features": features, "labels": labels, "sites": sites}.items():
        WEIGHT.check(name, weight)
    objective = _Maps(original, features, labels, sites)

    def finetune(model: nn.Module, current: Round) -> None:
        train(model, current, batches, objective, training)

    return finetune


@dataclass(frozen=True)
class _Maps:
    """The distance from the original's maps, and a detector's own losses."""

    original: nn.Module = field(repr=False)
    features: float
    labels: float
    sites: float

    def on(self, device: torch.device) -> Loss:
        """The distance from a copy of the original, which runs on `device` in eval mode."""
        return _Distance(self, teacher(self.original, device))


class _Distance:
    def __init__(self, weights: _Maps, teacher: nn.Module) -> None:
        self._weights = weights
        self._teacher = teacher
        self._sites: list[SiteMap] | None = None
        self._scaled = ScaledMaps(teacher, 1.0, [])

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        images = images_in(batch)
        if self._sites is None:
            _check(self._teacher)
            wanted = bool(self._weights.sites)
            self._sites = site_maps(self._teacher, model, images[:1]) if wanted else []
            scale = relative_scale(model, self._teacher)
            self._scaled = ScaledMaps(self._teacher, scale, self._sites)
        expected: list[Any] = []
        with (
            torch.no_grad(),
            outputs_to(self._teacher, [(_BACKBONE, expected.append)]),
            maps_of(self._teacher, self._sites) as expected_maps,
        ):
            self._teacher(images)
        expected_maps = self._scaled.of(expected_maps, images)
        given: list[Any] = []
        with (
            outputs_to(model, [(_BACKBONE, given.append)]),
            maps_of(model, self._sites) as given_maps,
        ):
            loss = self._weights.labels * detector_loss(model, batch)
        pairs = zip(tensors(expected), tensors(given), strict=True)
        alike = [self._scaled.at(theirs, ours.shape[2:]) for theirs, ours in pairs]
        backbone = mean_relative_square(tensors(given), alike)
        sites = distance_of_sites(given_maps, expected_maps)
        return loss + self._weights.features * backbone + self._weights.sites * sites


def _check(teacher: Any) -> None:
    if not hasattr(teacher, _BACKBONE):
        raise VirtualPoolError(
            f"{type(teacher).__name__} has no backbone, as torchvision's detectors have, whose "
            "maps could be compared; fine-tune by labels."
        )
    sides = getattr(getattr(teacher, "transform", None), "min_size", ())
    if len(sides) > 1:
        raise VirtualPoolError(
            f"The detector resizes training images to one of {sides}, so the original sees others; "
            "give transform.min_size one number."
        )
