"""A pooled model in one safetensors file: its weights, and its plan in the metadata.

A fused model has the weights of the pooled one, so its file is that one's with a word more: on what
inputs it was fused. A virtualpool that does not know that word loads the pooled model, its equal.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from virtualpool.apply import apply
from virtualpool.errors import VirtualPoolError
from virtualpool.files import replacing
from virtualpool.fuse import fuse
from virtualpool.graph.forward import original_class
from virtualpool.graph.inputs import for_model, from_description
from virtualpool.graph.state import copy_of
from virtualpool.plan import Plan, plan_of, record_of, unwrapped
from virtualpool.sites import check_model

_KEY = "virtualpool"


def save(model: nn.Module, path: Path | str) -> None:
    """Writes a model's weights and plan to one safetensors file, whole or not at all.

    Args:
        model: a pooled model, fused or unfused, or an unmodified one (its plan is empty).
        path: where to; an existing file is replaced when the new one is complete.

    >>> import tempfile
    >>> from virtualpool import apply, plan_of
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
    >>> path = Path(tempfile.mkdtemp()) / "fast.safetensors"
    >>> save(apply(model, torch.zeros(1, 3, 32, 32), ["0"]), path)
    >>> plan_of(load(model, path)).names
    ['0']
    """
    model = unwrapped(model)
    plan, record = plan_of(model), record_of(model)
    if plan.sites and record is None:
        raise VirtualPoolError(
            f"{type(model).__name__} is pooled inside a submodule ({plan.names[0]}), of which it "
            "does not know the inputs; save that submodule, or pool the model as a whole."
        )
    header = {
        "plan": plan.to_json(),
        "inputs": record.inputs if record else None,
        "fused": record.fused_with if record else None,
        "model": original_class(model).__name__,
    }
    # Copies, because the format refuses tensors that share memory, such as tied weights.
    weights = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in _state(model).items()
    }
    with replacing(path) as beside:
        save_file(weights, beside, metadata={_KEY: json.dumps(header)})


def load(model: nn.Module, path: Path | str, *, unfused: bool = False) -> nn.Module:
    """A new model with the plan and the weights of a file that `save` wrote.

    Args:
        model: the user's own unmodified model; it is not changed, its weights do not matter.
        path: a file of `save`.
        unfused: gives the pooled model even if it was saved fused: to pool more of its sites,
            or to see what fusing is worth.

    Returns:
        The model that was saved, bit-equal, on the device of `model`. One that was not fused for
        training is in eval mode.

    Raises:
        VirtualPoolError: the file is missing, cut off, not of `save`, of a newer version, or of
            another model.
    """
    header, weights = _read(Path(path))
    try:
        plan = Plan.from_json(header.get("plan"))
    except VirtualPoolError as error:
        raise VirtualPoolError(f"{path}: {error}") from error
    check_model(model)
    if plan_of(model).sites:
        raise VirtualPoolError(
            f"{path}: load takes the unmodified model, and this one has "
            f"{len(plan_of(model).sites)} pooled sites already; give the model as it was built."
        )
    _check_names(path, header, model, weights)
    loaded = _pooled(path, header, model, plan) if plan.sites else copy_of(model)
    _set_weights(loaded, weights)
    fused_with = header.get("fused")
    if unfused or not fused_with:
        return loaded
    inputs = for_model(from_description(fused_with["inputs"]), loaded)
    return fuse(loaded, inputs, training=fused_with["training"])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise VirtualPoolError(f"{path}: there is no such file.")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "null"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise VirtualPoolError(
            f"{path}: not a whole safetensors file ({error}); copy or save it again."
        ) from error
    if not isinstance(header, dict):
        raise VirtualPoolError(
            f"{path}: holds no plan, so virtualpool.save did not write it; load plain weights with "
            "load_state_dict and pool with virtualpool.apply."
        )
    return header, weights


def _state(model: nn.Module) -> dict[str, Tensor]:
    """A model's own tensors by name; a state with anything else in it is refused."""
    state = model.state_dict(keep_vars=True)
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise VirtualPoolError(
                f"{name} of {type(model).__name__} is a {type(value).__name__}; a safetensors file "
                "holds tensors only. Keep it out of the state_dict, or use torch.save."
            )
    return state


def _check_names(
    path: Path | str, header: dict[str, Any], model: nn.Module, weights: dict[str, Tensor]
) -> None:
    state = _state(model)
    missing = [name for name in state if name not in weights]
    unknown = [name for name in weights if name not in state]
    unlike = [
        f"{name} {tuple(weights[name].shape)} in place of {tuple(state[name].shape)}"
        for name in state
        if name in weights and weights[name].shape != state[name].shape
    ]
    wrong = {"lacks": missing, "has besides": unknown, "has": unlike}
    found = [f"{verb} {_some(names)}" for verb, names in wrong.items() if names]
    if found:
        raise VirtualPoolError(
            f"{path}: was saved from a {header.get('model')} and does not fit this "
            f"{type(model).__name__}: it {'; it '.join(found)}. Give the model that was pooled."
        )


def _pooled(path: Path | str, header: dict[str, Any], model: nn.Module, plan: Plan) -> nn.Module:
    inputs = for_model(from_description(header["inputs"]), model)
    try:
        return apply(model, inputs, plan.names)
    except VirtualPoolError as error:
        raise VirtualPoolError(f"{path}: {error}") from error


def _set_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _state(model).items():
            # Its dtype too: a file in another precision is given back as it was saved.
            tensor.data = weights[name].to(tensor.device).to(memory_format=_memory_format(tensor))


def _memory_format(tensor: Tensor) -> torch.memory_format:
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last and not tensor.is_contiguous() else torch.preserve_format


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
