"""Networks of Hugging Face, by the name of a repository or the path of a folder."""

from pathlib import Path
from typing import Any

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.preprocessing import Preprocessing

_BICUBIC = 3
"""Pillow's number of it, with which preprocessors are written."""


def hugging_face(name: str, *, trained: bool) -> tuple[nn.Module, Preprocessing | None]:
    """The network of a repository such as "microsoft/resnet-50", or of a folder.

    Args:
        name: as `from_pretrained` takes it.
        trained: with its weights, else as its configuration builds it.

    Returns:
        The network, of the class that its configuration names, and how its images are prepared;
        None where the repository does not say this.

    Raises:
        VirtualPoolError: transformers is not installed or has no such class, or there is no such
            folder.
    """
    # A repository has one slash at most; transformers would ask the hub for minutes.
    if (name.startswith((".", "/", "~")) or name.count("/") > 1) and not Path(name).is_dir():
        raise VirtualPoolError(
            f"hf:{name}: no such folder. Give a folder that holds a repository's files, or the "
            "name of a repository, such as hf:microsoft/resnet-50."
        )
    try:
        import transformers  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise VirtualPoolError(
            "transformers is not installed; install it by: pip install 'virtualpool[hf]'."
        ) from error
    configuration = transformers.AutoConfig.from_pretrained(name)
    kind = next(iter(configuration.architectures or ()), "")
    builder: Any = getattr(transformers, kind, None)
    if builder is None:
        raise VirtualPoolError(
            f"hf:{name}: transformers {transformers.__version__} has no class {kind!r} for it. "
            "Install another version, or give path/to/file.py:function."
        )
    module = builder.from_pretrained(name) if trained else builder(configuration)
    return module.eval(), _preprocessing(name, transformers)


def _preprocessing(name: str, transformers: Any) -> Preprocessing | None:
    try:
        said = transformers.AutoImageProcessor.from_pretrained(name).to_dict()
    except (OSError, ValueError):  # the repository has no file of it
        return None
    return prepared(said)


def prepared(said: dict[str, Any]) -> Preprocessing | None:
    """How images are prepared, as an image processor's settings say it; None if they say no size.

    >>> found = prepared({"size": {"shortest_edge": 256}, "crop_size": {"height": 224}})
    >>> found.size, found.resize
    (224, 256)
    """
    resized = _side(said.get("size"))
    size = _side(said.get("crop_size")) if said.get("do_center_crop", True) else None
    size = size or resized
    if size is None or resized is None:
        return None
    share = said.get("crop_pct") or 1.0
    normalises = said.get("do_normalize", True)
    mean, std = (said.get(key) if normalises else None for key in ("image_mean", "image_std"))
    return Preprocessing(
        size,
        resize=round(resized / share),
        mean=tuple(mean or (0.0, 0.0, 0.0)),  # type: ignore[arg-type]
        std=tuple(std or (1.0, 1.0, 1.0)),  # type: ignore[arg-type]
        augmentation="resized crop",
        interpolation="bicubic" if said.get("resample") == _BICUBIC else "bilinear",
    )


def _side(size: Any) -> int | None:
    if isinstance(size, dict):
        size = size.get("shortest_edge") or size.get("height")
    return size if isinstance(size, int) else None
