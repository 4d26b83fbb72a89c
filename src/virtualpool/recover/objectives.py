"""The losses of fine-tuning: by labels, or the distance to the original model."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool.errors import VirtualPoolError
from virtualpool.fingerprint import name_of
from virtualpool.graph.image_scale import at_scale, relative_scale
from virtualpool.graph.inputs import labels_in
from virtualpool.graph.outputs import answer_in
from virtualpool.graph.running import evaluating
from virtualpool.graph.state import copy_of
from virtualpool.recover.batches import images_of
from virtualpool.recover.distances import distance_of_sites, relative_square
from virtualpool.recover.scaled_maps import ScaledMaps, averaged
from virtualpool.recover.site_maps import SiteMap, maps_of, site_maps

_log = logging.getLogger(__name__)

Loss = Callable[[nn.Module, Any], Tensor]
"""The loss, a scalar, of a model on a batch, such as images or (images, labels)."""


class Objective(Protocol):
    """A quantity to minimise in training; as a text, it names all that its loss depends on."""

    def on(self, device: torch.device) -> Loss:
        """The loss on a device."""
        ...


@dataclass(frozen=True)
class Labels:
    """A loss by the labels of a batch."""

    loss: Loss

    def on(self, device: torch.device) -> Loss:
        """The loss, which needs nothing on the device."""
        return self.loss

    def __str__(self) -> str:
        return f"Labels({name_of(self.loss)})"


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    """The cross entropy of a model's logits (N, classes) with labels (N,).

    >>> round(float(cross_entropy(nn.Identity(), (torch.zeros(4, 2), torch.ones(4).long()))), 4)
    0.6931
    """
    images, labels = images_of(batch), _labels_of(batch)
    return _cross_entropy(_output(model, images), labels)


@dataclass(frozen=True)
class Distillation:
    """The distance from the original model's outputs, last feature map and sites' maps."""

    original: nn.Module = field(repr=False)
    temperature: float
    features: float
    labels: float
    sites: float = 0.0
    loss: Loss = field(default=cross_entropy, repr=False)

    def on(self, device: torch.device) -> Loss:
        """The distance from a copy of the original, which runs on `device` in eval mode."""
        return _Distance(self, teacher(self.original, device))

    def __str__(self) -> str:
        return repr(self) if self.loss is cross_entropy else f"{self!r}, {name_of(self.loss)}"


def teacher(original: nn.Module, device: torch.device) -> nn.Module:
    """A copy of the original that is only looked at: in eval mode, without gradients."""
    copied = copy_of(original).eval().requires_grad_(False)
    return copied.to(device).to(memory_format=torch.channels_last)


class _Distance:
    def __init__(self, weights: Distillation, teacher: nn.Module) -> None:
        self._weights = weights
        self._teacher = teacher
        self._layer: str | None = None
        self._sites: list[SiteMap] = []
        self._scaled = ScaledMaps(teacher, 1.0, [])

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        images = images_of(batch)
        if self._layer is None:
            self._layer = self._compared_layer(model, images)
            if self._weights.sites:
                self._sites = site_maps(self._teacher, model, images[:1])
            scale = relative_scale(model, self._teacher)
            self._scaled = ScaledMaps(self._teacher, scale, self._sites)
        sites = self._sites
        with (
            torch.no_grad(),
            _input_of(self._teacher, self._layer) as expected_map,
            maps_of(self._teacher, sites) as expected_maps,
        ):
            expected = logits_of(self._teacher(images))
        expected_maps = self._scaled.of(expected_maps, images)
        with _input_of(model, self._layer) as given_map, maps_of(model, sites) as given_maps:
            outputs = model(images)
        given = logits_of(outputs)
        loss = self._weights.sites * distance_of_sites(given_maps, expected_maps)
        if self._weights.labels:
            loss = loss + self._weights.labels * self._weights.loss(_Answered(outputs), batch)
        if expected.ndim == 4:
            return loss + _distance_of_maps(given, expected)
        loss = loss + self._divergence(given, expected)
        if self._layer:
            distance = _distance_of_maps(given_map[-1], expected_map[-1])
            loss = loss + self._weights.features * distance
        return loss

    def _divergence(self, given: Tensor, expected: Tensor) -> Tensor:
        temperature = self._weights.temperature
        log_given, log_expected = (
            functional.log_softmax(logits.float() / temperature, dim=1)
            for logits in (given, expected)
        )
        divergence = functional.kl_div(
            log_given, log_expected, reduction="batchmean", log_target=True
        )
        # Hinton et al. (2015): the square keeps the gradient's size when the temperature changes.
        return divergence * temperature**2

    def _compared_layer(self, model: nn.Module, images: Any) -> str:
        # The layer whose input is the last feature map, or "" where no map is to be compared.
        with evaluating(model):
            output = _output(self._teacher, images)
            if output.ndim not in (2, 4):
                raise VirtualPoolError(
                    f"The model gives a tensor of shape {tuple(output.shape)}; distillation "
                    "compares logits (N, classes) or a feature map (N, C, H, W)."
                )
            if output.ndim == 4 or not self._weights.features:
                return ""
            changed = _input_shapes(model, images)
            with at_scale(self._teacher, relative_scale(model, self._teacher)):
                original = _input_shapes(self._teacher, images)
        for name, shape in reversed(original.items()):
            if changed.get(name) == shape:
                return name
        if not self._weights.sites:
            _log.warning("no feature map is compared: no layer takes one of the same size in both")
        return ""


class _Answered(nn.Module):
    """A model whose outputs for a batch are there already, for a loss that calls it."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self._outputs = outputs

    def forward(self, *images: Any) -> Any:
        """The outputs."""
        return self._outputs


def _distance_of_maps(given: Tensor, expected: Tensor) -> Tensor:
    return relative_square(given, averaged(expected, given.shape[2:]))


def _output(model: nn.Module, images: Any) -> Tensor:
    return logits_of(model(images))


def logits_of(output: Any) -> Tensor:
    """The tensor among a model's outputs that is compared.

    Some networks of torchvision add auxiliary outputs in training, and those for segmentation give
    a dict; Hugging Face's give an object.

    Raises:
        VirtualPoolError: there is none.
    """
    output = answer_in(output)
    output = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(output, Tensor):
        raise VirtualPoolError(
            f"The model gives a {type(output).__name__}; fine-tuning needs a tensor: "
            "wrap the model or write a finetune(model, round) of your own."
        )
    return output


def _labels_of(batch: Any) -> Tensor:
    labels = labels_in(batch)
    if labels is None:
        raise VirtualPoolError("The batches have no labels; give pairs of images and labels.")
    if not isinstance(labels, Tensor):
        raise VirtualPoolError(
            f"The labels of a batch are a {type(labels).__name__}; expected a tensor (N,). For "
            "others give a loss: by_labels(batches, loss=...), for detectors of torchvision "
            "virtualpool.tasks.detection.detector_loss."
        )
    return labels


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.ndim != 2 or int(labels.max()) >= logits.shape[1]:
        raise VirtualPoolError(
            f"The model gives a tensor of shape {tuple(logits.shape)} and the labels go up to "
            f"{int(labels.max())}; expected logits (N, classes) with a class for each label."
        )
    return functional.cross_entropy(logits.float(), labels)


def _input_shapes(model: nn.Module, images: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of the maps of more than one row that modules take, in the order of execution."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_: nn.Module, inputs: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim == 4:
                shape = tuple(inputs[0].shape)
                shapes.pop(name, None)
                if shape[2] > 1:
                    shapes[name] = shape

        return hook

    handles = [
        module.register_forward_pre_hook(note(name))
        for name, module in model.named_modules()
        if name
    ]
    try:
        _output(model, images)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


@contextmanager
def _input_of(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """The input of the layer of that name while the block runs; nothing for the name ""."""
    inputs: list[Tensor] = []
    if not layer:
        yield inputs
        return
    module = model.get_submodule(layer)
    handle = module.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    try:
        yield inputs
    finally:
        handle.remove()
