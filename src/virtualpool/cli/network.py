"""The networks that the command line can name."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torchvision.models import WeightsEnum

from virtualpool.cli.hugging_face import hugging_face
from virtualpool.cli.terminal import messages
from virtualpool.cli.user_code import network_from
from virtualpool.cli.weights import SUFFIXES, are_in_file, with_weights
from virtualpool.errors import VirtualPoolError
from virtualpool.graph.image_scale import sides, transforms_of
from virtualpool.tasks.preprocessing import CIFAR10, Preprocessing
from virtualpool.words import first_line, nearest

_FORMS = "torchvision:NAME, timm:NAME, hf:NAME, virtualpool:NAME or path/to/file.py:function"
_SIDE = 224
"""Of the images of a network that says no size, in pixels."""
_VOC_CLASSES = 20
T = TypeVar("T")
RANDOM = "random"
"""The name of no weights: a network keeps the ones that it is built with."""


@dataclass(frozen=True)
class Network:
    """A network that was named.

    Attributes:
        module: the network itself.
        size: the side of the images that it is made for, or to which it resizes them.
        preprocessing: how these are prepared, if known.
        trained: whether its weights were named, so that the preprocessing is surely theirs.
        classes: of a detector, the names of its labels from 1 on, if its weights know them.
    """

    module: nn.Module
    size: int
    preprocessing: Preprocessing | None = None
    trained: bool = False
    classes: list[str] = field(default_factory=list)

    @property
    def resizes(self) -> bool:
        """Whether it resizes and normalises images by itself, as torchvision's detectors do."""
        return bool(transforms_of(self.module))


def load_network(name: str, weights: str | None = None) -> Network:
    """The network of a name, with weights.

    Args:
        name: "torchvision:resnet50", "timm:resnet50", "hf:microsoft/resnet-50",
            "virtualpool:all_cnn_c", "virtualpool:faster_rcnn_vgg16", or
            "path/to/file.py:function", a function that is called without arguments.
        weights: a name that the network's source knows ("IMAGENET1K_V2", "DEFAULT", "cifar10"), or
            the path of a state dict or a checkpoint (.safetensors, .pt, .pth, .ckpt, .bin, .tar),
            with #KEY behind it where it holds several. A file that `virtualpool.save` wrote gives
            the pooled network, unfused. Without, or with "random", it is as it is built.

    Raises:
        VirtualPoolError: there is no such network or weights, they do not fit, or the user's
            function fails.

    >>> load_network("virtualpool:all_cnn_c", "cifar10").size
    32
    """
    source, _, rest = name.rpartition(":")
    weights = None if weights == RANDOM else weights
    named = None if are_in_file(weights) else weights
    if source in _SOURCES:
        network = _SOURCES[source](rest, named)
    elif source.endswith(".py") and rest:
        if named:
            raise VirtualPoolError(
                f"--weights {named}: for a network from a file, give the path of a state dict "
                f"({', '.join(SUFFIXES)}), or load the weights in the function."
            )
        network = Network(network_from(Path(source), rest), _SIDE)
    else:
        raise VirtualPoolError(f"{name}: a model is given as {_FORMS}{_in_file(name)}.")
    if named:
        network = replace(network, trained=True)
    elif weights:
        network = replace(network, module=with_weights(network.module, weights))
    _check_finite(name, network.module)
    return replace(network, size=min(sides(network.module, ()), default=network.size))


def _in_file(name: str) -> str:
    """What to write where a name looks like one of the user's own files."""
    first, _, function = name.partition(":")
    file = f"{first.removesuffix('.py')}.py"
    if not Path(file).is_file():
        return ""
    return f"; for that file it is {file}:{function or 'build'}, with the function that builds it"


def _check_finite(name: str, module: nn.Module) -> None:
    for path, values in module.state_dict().items():
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise VirtualPoolError(
                f"{name}: its {path} holds nan or infinity. Give weights of a training that has "
                "not diverged."
            )


def example_images(
    network: Network, size: int | None = None, shape: str | None = None
) -> torch.Tensor:
    """Random images that a network runs on: (1, 3, size, size), or of a shape, "1,3,224,160".

    Where nothing says the size, a message does: speeds and MACs depend on it.

    Raises:
        VirtualPoolError: both are given, or the shape is no shape.
    """
    side = size or network.size
    numbers = (shape or f"1,3,{side},{side}").split(",")
    is_shape = len(numbers) == 4 and all(part.isdecimal() and int(part) for part in numbers)
    if (size and shape) or not is_shape:
        raise VirtualPoolError(
            f"--input-shape {shape}: four positive numbers N,C,H,W with commas between them are "
            "expected, without --size."
        )
    if not (size or shape or network.preprocessing or network.resizes):
        messages().print(
            f"images: {side}x{side} pixels are assumed; give --size or --input-shape for others"
        )
    images = torch.rand([int(part) for part in numbers], generator=torch.Generator().manual_seed(0))
    return images.to(next(network.module.parameters(), images).dtype)


def device_of(name: str | None) -> torch.device:
    """The named device; without a name, a GPU if there is one, else the CPU.

    Raises:
        VirtualPoolError: this machine has no such device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise VirtualPoolError(f"--device {name}: cannot be used here ({reason:.200}).") from error
    return device


def _torchvision(name: str, weights: str | None) -> Network:
    from torchvision import models

    try:
        choices = models.get_model_weights(name)
    except ValueError as error:
        known = nearest(name, models.list_models())
        raise VirtualPoolError(f"torchvision has no model {name!r}{known}.") from error
    if weights and weights not in choices.__members__:
        raise VirtualPoolError(
            f"torchvision's {name} has no weights {weights!r}; "
            f"there are: {', '.join(choices.__members__)}; or give the path of a state dict."
        )
    chosen = choices[weights] if weights else None
    builder = models.get_model_builder(name)
    options: dict[str, Any] = {"weights": chosen}
    if "weights_backbone" in inspect.signature(builder).parameters:
        # Detectors would fetch the weights of their backbone.
        options["weights_backbone"] = None
    module = _fetched(lambda: builder(**options), f"torchvision:{name}")
    try:
        preprocessing = Preprocessing.of(chosen or next(iter(choices)))
    except VirtualPoolError:  # a network for another task than classification
        return Network(module, _SIDE, classes=classes_of(chosen))
    return Network(module, preprocessing.size, preprocessing)


def classes_of(weights: WeightsEnum | None) -> list[str]:
    """The names of a detector's labels, without the first, which is the background."""
    names = weights.meta.get("categories", []) if weights else []
    return names[1:] if names[:1] == ["__background__"] else []


def _timm(name: str, weights: str | None) -> Network:
    try:
        import timm
        from timm.data.config import resolve_model_data_config
    except ImportError as error:
        raise VirtualPoolError(
            "timm is not installed; install it by: pip install 'virtualpool[timm]'."
        ) from error
    if not timm.is_model(name.split(".")[0]):
        raise VirtualPoolError(f"timm has no model {name!r}{nearest(name, timm.list_models())}.")
    if weights not in (None, "DEFAULT"):
        raise VirtualPoolError(
            f"--weights {weights}: for timm give DEFAULT, with the tag in the model's name "
            "(timm:resnet50.a1_in1k), or the path of a state dict."
        )
    pretrained = weights is not None
    module = _fetched(lambda: timm.create_model(name, pretrained=pretrained), f"timm:{name}")
    config = resolve_model_data_config(module)
    size = config["input_size"][-1]
    preprocessing = Preprocessing(
        size,
        resize=round(size / config["crop_pct"]),
        mean=config["mean"],
        std=config["std"],
        augmentation="resized crop",
        interpolation="bicubic" if config["interpolation"] == "bicubic" else "bilinear",
    )
    return Network(module, size, preprocessing)


def _hugging_face(name: str, weights: str | None) -> Network:
    if weights not in (None, "DEFAULT"):
        raise VirtualPoolError(
            f"--weights {weights}: for a network of Hugging Face give DEFAULT, which are the ones "
            "of its repository, or the path of a state dict."
        )
    trained = weights is not None
    module, prepared = _fetched(
        lambda: hugging_face(name, trained=trained),
        f"hf:{name}",
        "a folder that holds the repository's files is taken, too: hf:FOLDER",
    )
    return Network(module, prepared.size if prepared else _SIDE, prepared)


def _virtualpool(name: str, weights: str | None) -> Network:
    from virtualpool import models

    if name == "all_cnn_c":
        return Network(models.all_cnn_c(weights), 32, CIFAR10)  # type: ignore[arg-type]
    if name not in ("faster_rcnn_vgg16", "unet_vgg16"):
        raise VirtualPoolError(
            f"virtualpool:{name}: there are virtualpool:all_cnn_c, virtualpool:faster_rcnn_vgg16 "
            f"(for the {_VOC_CLASSES} classes of VOC) and virtualpool:unet_vgg16 (for the 11 of "
            "CamVid; for others write a function that builds it)."
        )
    if weights:
        raise VirtualPoolError(
            f"virtualpool:{name} comes without weights such as {weights!r}; give the path of a "
            "state dict."
        )
    if name == "unet_vgg16":
        return Network(models.unet_vgg16(), size=360)
    return Network(models.faster_rcnn_vgg16(_VOC_CLASSES), _SIDE)


_SOURCES: dict[str, Callable[[str, str | None], Network]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _hugging_face,
    "virtualpool": _virtualpool,
}


def _fetched(
    create: Callable[[], T],
    name: str,
    remedy: str = "download them elsewhere and give the file by --weights",
) -> T:
    try:
        return create()
    except VirtualPoolError:
        raise
    except Exception as error:  # hubs raise their own kinds of error where there is no network
        raise VirtualPoolError(
            f"{name}: its weights cannot be fetched ({type(error).__name__}: {error}); {remedy}."
        ) from error
