"""Reconstruction: weights solved so that a pooled network gives the original's maps.

Original and pooled network are walked together, in the order of execution. Where a layer of the
pooled network is reached, its input is known with all earlier layers solved, and so is the
original's output of the same layer: the best weights are a least-squares problem with a closed
form, from which gradient steps go on. It needs images and no labels.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool import processes
from virtualpool.errors import VirtualPoolError
from virtualpool.fuse import report_of
from virtualpool.graph.image_scale import attach, relative_scale
from virtualpool.graph.inputs import batch_size, call, describe, for_model
from virtualpool.graph.random_numbers import drawn, mixed_seed
from virtualpool.graph.running import evaluating
from virtualpool.graph.state import copy_of
from virtualpool.measure.bench import device_of
from virtualpool.observer import Observer, unobserved
from virtualpool.plan import plan_of
from virtualpool.progress import shows_progress
from virtualpool.recover.batches import images_of
from virtualpool.recover.judging import Judgement, Remembered, judged, results_of, take_best
from virtualpool.recover.layers import call_order, layers_of, unsolvable
from virtualpool.recover.limits import COUNT, STEPS, WEIGHT
from virtualpool.recover.refining import Refining, usual_steps
from virtualpool.recover.solver import Solver
from virtualpool.recover.walk import Pair, Walk
from virtualpool.words import count, some

logger = logging.getLogger("virtualpool")

_HELD_OUT = 0.2
"""The share of the images that choose, and enter no solve."""
_FEW_BATCHES = 5
"""With fewer ones, some images of each are held out, else whole batches."""


@shows_progress
@torch.inference_mode(False)
@torch.no_grad()
def reconstruct(
    pooled: nn.Module,
    original: nn.Module,
    batches: Iterable[Any],
    *,
    samples: int | None = None,
    steps: int | None = None,
    memory_gib: float = 4.0,
    seed: int = 0,
    observer: Observer | None = None,
) -> nn.Module:
    """A new pooled model with weights solved so that its maps come close to the original's.

    Every convolution and linear layer from the first site on is solved, pooled or not, by least
    squares with a ridge towards its weights. At a site the target is the original's map at the
    even positions, half of it blurred by [1 2 1] / 4 per axis. A fifth of the images is held out of
    the solve. On these the ridge and the blur of each layer are chosen, by the error after
    activation and interpolation. Another candidate is each layer's weights times a number for each
    channel: batch norm measured anew. Gradient steps on the same error follow. A layer is changed
    only where the error falls. A layer whose map is added to a shortcut, as at the end of a
    residual block, is solved for the original's sum: so it mends the shortcut's error, too.

    At the end the model goes part of the way from the given weights to the solved ones: as far as
    its outputs on the held-out images come nearest to the original's, and nowhere if they do not,
    or if fewer images have the original's first class. Of logits (N, classes) the divergence of the
    classes is judged too.

    A model with an image scale is solved towards the original on images of the same scale, where
    every position has its position in the other. What the pixels have lost is lost: one without
    virtual pools stays as it is.

    Run by `accelerate launch`, each process takes its share of the batches, and all end with the
    same weights. All are to be given the same batches.

    Args:
        pooled: a model of `virtualpool.apply`, unfused; it is not changed.
        original: the unmodified model.
        batches: batches of images (N, C, H, W), of a detector lists of images (C, H, W), tuples
            that start with such, or dicts with images, on any device: a few hundred images to a few
            thousand. Gone through once, and kept. Labels are not read.
        samples: positions of each map that enter the solve, for each image. None is 48, and more
            where these would be fewer than two equations for each weight of an output.
        steps: Adam's steps for each layer after its solve, on 16 images each; 0 for the closed form
            alone. None is two passes over the images, and 60 steps at least.
        memory_gib: about how many GiB the maps that wait at a layer may take. The others
            wait in temporary files. A layer whose equations take more, and more than one GiB,
            keeps its weights.
        seed: decides the positions, and the draws of a model that draws random numbers.
        observer: is told of progress; see `Observer`. If not given, a terminal shows it as bars.

    Returns:
        A copy of `pooled`, in its mode and on its device, with new values of its parameters and of
        its batch norms' statistics.

    Raises:
        VirtualPoolError: the model has no virtual pool or is fused, there are fewer than two
            images, a model does not take a batch, or a map is not finite.

    >>> from virtualpool import apply
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3)).eval()
    >>> images = torch.rand(32, 3, 16, 16)
    >>> pooled = apply(model, images[:1])
    >>> solved = reconstruct(pooled, model, [images])
    >>> def error(other):
    ...     return (other(images) - model(images)).square().mean()
    >>> bool(error(solved) < error(pooled))
    True
    """
    observer = observer or unobserved
    _check(pooled, original, batches)
    if steps is not None:
        COUNT.check("steps", steps)
    if samples is not None:
        STEPS.check("samples", samples)
    WEIGHT.check("memory_gib", memory_gib)
    if not plan_of(pooled).sites:
        logger.info(
            "%s has an image scale and no virtual pool: its weights stay, for what it has lost is "
            "in the pixels", type(pooled).__name__,
        )  # fmt: skip
        return copy_of(pooled)
    device = device_of(pooled)
    processes.join(on_cpu=device.type == "cpu")
    start, solved, teacher = copy_of(pooled), copy_of(pooled), copy_of(original)
    if (scale := relative_scale(pooled, original)) != 1:
        attach(teacher, scale)  # so that every position of one has its position in the other
    solving, judging = _split(_usable(drawn(batches, seed)))
    with (
        evaluating(start), evaluating(solved), evaluating(teacher),
        torch.autocast(device.type, enabled=False),
    ):  # fmt: skip
        order = call_order(solved, _called(solved, solving[0]))
        layers = layers_of(solved, teacher, for_model(solving[0][1], solved), order)

        def pairs(model: nn.Module, batches: list[_Numbered], heads: list[str]) -> list[Pair]:
            def called(its: nn.Module, batch: _Numbered) -> Callable[[], Any]:
                return partial(results_of, its, heads, _called(its, batch))

            return [
                Pair(
                    batch[0], called(model, batch), called(teacher, batch),
                    mixed_seed(seed, batch[0]) if order.draws else None,
                )
                for batch in _share(batches)
            ]  # fmt: skip

        both = pairs(solved, solving, []), pairs(solved, judging, [])
        shortcuts = {name: each.shortcut for name, each in layers.items() if each.shortcut}
        with Walk(solved, teacher, *both, order, shortcuts, memory_gib) as walk:
            images = _images_in(solving)
            refining = Refining(usual_steps(images) if steps is None else steps, len(solving))
            solver = Solver(walk, order, samples, images, memory_gib, seed, refining)
            for done, (name, layer) in enumerate(layers.items()):
                observer("reconstruction", done, len(layers), name)
                solver.solve(layer)
        observer("reconstruction", len(layers), len(layers), "")
        once = Remembered(memory_gib)
        before, after = take_best(
            solved,
            start,
            lambda it: judged([*map(once.of, pairs(it, judging, order.heads))], device),
        )
    _tell(solver, len(layers), before, after)
    _tell_of_kept(unsolvable(solved, order.calls) | solver.left)
    _tell_of_few(solver, images)
    return solved


def _check(pooled: nn.Module, original: nn.Module, batches: Any) -> None:
    if isinstance(batches, Tensor):
        raise VirtualPoolError(
            "The batches are one tensor, which gives single images. Give a list of batches, such "
            "as images.split(64)."
        )
    if plan_of(pooled).is_empty:
        raise VirtualPoolError(
            f"{type(pooled).__name__} has no virtual pool, so there is nothing to reconstruct; "
            "pool it first: virtualpool.apply(model, example_inputs)."
        )
    if report_of(pooled) is not None:
        raise VirtualPoolError(
            f"{type(pooled).__name__} is fused; reconstruct the pooled model, then fuse the result."
        )
    layers = dict(original.named_modules())
    if missing := [name for name in plan_of(pooled).names if name not in layers]:
        raise VirtualPoolError(
            f"The original, of class {type(original).__name__}, has no layer {missing[0]!r}, which "
            f"{type(pooled).__name__} has. Give the network that was pooled."
        )


_Numbered = tuple[int, Any]
"""The number of a batch, and its images."""


def _usable(batches: Iterable[Any]) -> list[Any]:
    return [images for images in map(images_of, batches) if batch_size((images,))]


def _split(given: list[Any]) -> tuple[list[_Numbered], list[_Numbered]]:
    """Images for the solve, and the ones that are held out of it."""
    if sum(batch_size((images,)) for images in given) < 2:
        raise VirtualPoolError(
            "Reconstruction needs two images at least, one to solve with and one to judge by; "
            "give a few hundred."
        )
    if len(given) < _FEW_BATCHES and all(batch_size((images,)) > 1 for images in given):
        halves = [_split_batch(images) for images in given]
        solving, judging = ([each[part] for each in halves] for part in range(2))
    else:
        held = _held_out(len(given))
        solving = [images for number, images in enumerate(given) if number not in held]
        judging = [given[number] for number in sorted(held)]
    numbered = [*enumerate([*solving, *judging])]
    return numbered[: len(solving)], numbered[len(solving) :]


def _held_out(count: int) -> set[int]:
    """A fifth of so many numbers, spread evenly: images often come class by class."""
    held = max(1, round(_HELD_OUT * count))
    return {(2 * number + 1) * count // (2 * held) for number in range(held)}


def _split_batch(images: Any) -> tuple[Any, Any]:
    held = _held_out(batch_size((images,)))
    rest = [number for number in range(batch_size((images,))) if number not in held]

    def some(numbers: list[int]) -> Any:
        return images[numbers] if isinstance(images, Tensor) else [images[it] for it in numbers]

    return some(rest), some(sorted(held))


def _images_in(batches: list[_Numbered]) -> int:
    return sum(batch_size((images,)) for _, images in batches)


def _share(batches: list[_Numbered]) -> list[_Numbered]:
    """The batches of this process."""
    if not processes.is_connected():
        return batches
    return batches[processes.rank() :: processes.count()]


def _called(model: nn.Module, batch: _Numbered) -> Callable[[], Any]:
    return partial(_call, model, batch)


def _call(model: nn.Module, batch: _Numbered) -> Any:
    number, images = batch
    try:
        return call(model, for_model((images,), model))
    except VirtualPoolError:
        raise
    except Exception as error:
        single = isinstance(images, Tensor) and images.ndim == 3
        raise VirtualPoolError(
            f"{type(model).__name__} does not take batch {number}, {describe(images)}: {error}. "
            + (
                "This is a single image: give batches, as a DataLoader of the images makes them."
                if single
                else "Give images of the size, channels and dtype that the network takes."
            )
        ) from error


def _tell(solver: Solver, layers: int, before: Judgement, after: Judgement) -> None:
    logger.info(
        "reconstructed %d of %d layers; error of the outputs %.4f, before %.4f; %d %% of the "
        "way from the given weights",
        solver.changed, layers, after.error, before.error, 100 * after.share,
    )  # fmt: skip
    if after.share == 0:
        logger.warning(
            "Reconstruction makes the outputs no better: the weights stay. Give more images, of "
            "the kind that the network is for."
        )


def _tell_of_kept(reasons: dict[str, str]) -> None:
    """Logs a line for each reason: a deep network may keep the weights of many layers."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, reason in reasons.items():
        names[reason].append(name)
    for reason, kept in names.items():
        what = "keeps its weights" if len(kept) == 1 else "keep their weights, each because"
        logger.info("%s %s: %s", some(kept), what, reason)
        logger.debug("kept, as %s: %s", reason, ", ".join(kept))


def _tell_of_few(solver: Solver, images: int) -> None:
    if not solver.shares:
        return
    name, share = min(solver.shares.items(), key=lambda item: item[1])
    needed = math.ceil(images / share / (1 - _HELD_OUT))
    few = count(len(solver.shares), "layer")
    logger.warning(
        "%s with fewer equations than unknowns, which can move little from the given weights: %s. "
        "About %d images would be enough for %s, which lacks most.",
        few, some(solver.shares), needed, name,
    )  # fmt: skip
    logger.debug("with fewer equations than unknowns: %s", ", ".join(solver.shares))
