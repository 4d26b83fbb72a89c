"""Recovery: ready callables that win back the loss from pooling, for `search(finetune=...)`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import nn

from virtualpool.plan import plan_of
from virtualpool.recover.batch_norm import by_recalibration
from virtualpool.recover.limits import ABOVE_ZERO, WEIGHT
from virtualpool.recover.objectives import Distillation, Labels, Loss, cross_entropy
from virtualpool.recover.reconstruction import reconstruct
from virtualpool.recover.round import Finetune, Round
from virtualpool.recover.settings import Training, TrainingOptions, distilling
from virtualpool.recover.training import train

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "Training",
    "by_distillation",
    "by_labels",
    "by_recalibration",
    "by_reconstruction",
    "reconstruct",
]


def by_labels(
    batches: Iterable[Any], *, loss: Loss = cross_entropy, **settings: "Unpack[TrainingOptions]"
) -> Finetune:
    """Fine-tuning on labelled images, as the paper does.

    Args:
        batches: pairs of (N, C, H, W) images and (N,) int64 labels, or dicts with images and
            "labels", gone through once an epoch, such as `load_data(...).train`, any
            `DataLoader`, or a list.
        loss: gives the loss, a scalar, of a model in training mode on a batch, for batches of
            another kind or models that do not give logits (N, classes); for torchvision's
            detectors, `virtualpool.tasks.detection.detector_loss`.
        settings: the fields of `Training`: epochs, learning_rate, optimizer, rate_schedule, ...

    Returns:
        A `finetune(model, round)` for `search`, which trains the model in place. Run by
        `accelerate launch`, each process takes its share of the batches.

    Raises (when called):
        VirtualPoolError: the batches are none or have no length, nothing can be trained, or a loss
            or gradient is not finite; or the model has no output for a label.
    """
    training = Training(**settings)

    def finetune(model: nn.Module, current: Round) -> None:
        train(model, current, batches, Labels(loss), training)

    return finetune


def by_distillation(
    original: nn.Module,
    batches: Iterable[Any],
    *,
    temperature: float = 2.0,
    features: float = 1.0,
    labels: float = 0.0,
    sites: float = 40.0,
    loss: Loss = cross_entropy,
    **settings: "Unpack[TrainingOptions]",
) -> Finetune:
    """Fine-tuning towards the original model's outputs; needs no labels.

    The loss of logits (N, classes) is their divergence from the original's (Hinton et al., 2015),
    plus the squared relative change of the last feature map: the input of the last layer that
    takes a map (N, C, H, W) of more than one row. A model whose output is a map itself, or has one
    as "out" of a dict, has the squared relative change of that map as its loss.

    The mean over the pooled sites of the squared relative change of their maps is added, compared
    after the activation at the even positions, where nothing is interpolated (hints: Romero et
    al., 2015). It wins back most of the accuracy within the first epochs, and stands larger steps.

    A model on smaller images is taught alike: the original sees whole images, its maps are averaged
    down to the sizes of the model's. Where no site is pooled, the maps of all eligible ones count.

    Args:
        original: the model as it was; a copy of it teaches, in eval mode.
        batches: batches of images, or of (images, labels), gone through once an epoch.
        temperature: softens the logits of both.
        features: the weight of the feature map; 0 leaves it out.
        labels: the weight of the loss by labels; 0 needs no labels.
        sites: the weight of the pooled sites' maps; 0 leaves them out.
        loss: by labels, as of `by_labels`; it is called with the outputs that are there already.
        settings: the fields of `Training`: epochs, learning_rate (3e-4 if not given), optimizer
            ("adamw"), rate_schedule ("cosine"), clip (1), ...

    Returns:
        A `finetune(model, round)` for `search`, which trains the model in place.

    Raises (when called):
        VirtualPoolError: the batches are none or have no length, nothing can be trained, or a loss
            or gradient is not finite; or an output is neither logits nor a map.
    """
    training = distilling(settings)
    ABOVE_ZERO.check("temperature", temperature)
    for name, weight in {"features": features, "labels": labels, "sites": sites}.items():
        WEIGHT.check(name, weight)
    objective = Distillation(original, temperature, features, labels, sites, loss)

    def finetune(model: nn.Module, current: Round) -> None:
        train(model, current, batches, objective, training)

    return finetune


def by_reconstruction(
    original: nn.Module,
    batches: Iterable[Any],
    *,
    samples: int | None = None,
    steps: int | None = None,
    memory_gib: float = 4.0,
) -> Finetune:
    """Recovery by weights solved layer by layer: minutes, without labels (`reconstruct`).

    Args:
        original: the model before pooling.
        batches: batches of images, of tuples that start with images, or of dicts with images.
        samples: positions of each map that enter the solve, for each image; None is 48, and more
            with few images.
        steps: gradient steps for each layer, after its solve; None is two passes over the images.
        memory_gib: about how many GiB the maps of all images may take.

    Returns:
        A `finetune(model, round)` for `search`, which changes the model's weights in place. An
        unmodified model, as those on smaller images are, stays as it is.

    Raises (when called):
        VirtualPoolError: see `reconstruct`.
    """

    def finetune(model: nn.Module, current: Round) -> None:
        if not plan_of(model).names:
            return
        solved = reconstruct(
            model,
            original,
            batches,
            samples=samples,
            steps=steps,
            memory_gib=memory_gib,
            observer=lambda stage, *told: current.observer(f"{current.name} {stage}", *told),
        )
        model.load_state_dict(solved.state_dict())

    return finetune
