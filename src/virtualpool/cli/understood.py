"""The network, the images and their preparation as a command has understood them."""

from typing import Any

import torch

from virtualpool.cli.data import Kind, Preparation
from virtualpool.cli.network import RANDOM, Network
from virtualpool.words import count, some

_NONE = "none given: as the network is built. If that is at random, give --weights FILE"


def understood(
    task: Kind,
    model: str,
    weights: str | None,
    network: Network,
    source: str,
    data: Any,
    preparation: Preparation,
    prepared: dict[str, Any],
    device: torch.device,
    *,
    labels: bool,
) -> dict[str, str]:
    """The network, its weights, the images and where all of that comes from, by subject."""
    kind = type(network.module).__name__
    millions = sum(each.numel() for each in network.module.parameters()) / 1e6
    number = "1 class" if len(data.classes) == 1 else f"{len(data.classes)} classes"
    classes = f"{number} ({some(data.classes, 5)})" if labels else "labels are not read"
    named = weights if weights not in (None, RANDOM) else _NONE
    how = _prepared(preparation, prepared), preparation.origin(task, source, network)
    threads = f", {count(torch.get_num_threads(), 'thread')}" if device.type == "cpu" else ""
    return {
        "network": f"{model}, {kind}, {millions:.3g} million parameters",
        "weights": named,
        "data": f"{source}: {_images(data)}, {classes}",
        "images": "; ".join(filter(None, how)),
        "device": f"{device}{threads}",
    }


def _images(data: Any) -> str:
    train = "no" if data.train is None else f"{len(data.train.dataset):,}"
    return f"{train} training and {len(data.test.dataset):,} test images"


def _prepared(preparation: Preparation, prepared: dict[str, Any]) -> str:
    parts = []
    for name, value in prepared.items():
        if value is None:
            continue
        asked = getattr(preparation, name, None) is not None
        text = " ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else str(value)
        parts.append(f"{name} {text}" + (" (asked)" if asked else ""))
    return ", ".join(parts)
