"""A pooled model in one safetensors file: its weights, and its plan in the metadata.

A fused model has the weights of the pooled one, so its file is the same with a word more: on which
inputs it was fused. A virtualpool that does not know that word loads the pooled model, its equal.
"""

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from virtualpool.apply import apply_plan
from virtualpool.documents import with_schema, without_schema
from virtualpool.errors import VirtualPoolError
from virtualpool.files import check_suffix, naming, parse_json, replacing, unwritable
from virtualpool.fingerprint import fingerprint
from virtualpool.fuse import fuse
from virtualpool.graph.forward import original_class
from virtualpool.graph.image_scale import attach, scale_of, transforms_of
from virtualpool.graph.inputs import check_size, for_model, from_description
from virtualpool.graph.operations import is_known_by_class
from virtualpool.graph.parts import trace
from virtualpool.graph.placement import decided_by
from virtualpool.graph.state import copy_of
from virtualpool.plan import Plan, plan_of, record_of, unwrapped
from virtualpool.schema import converted
from virtualpool.sites import check_model
from virtualpool.words import some

_KEY, _SUFFIX = "virtualpool", ".safetensors"


def save(model: nn.Module, path: Path | str) -> None:
    """Writes a model's weights and plan to one safetensors file, whole or not at all.

    Args:
        model: a pooled model, fused or unfused, or an unmodified one (its plan is empty).
        path: where to, a name that ends in `.safetensors`; an existing file is replaced when the
            new one is complete.

    Raises:
        VirtualPoolError: the name ends otherwise, nothing can be written there, or the model's
            state or example inputs are none that a file can hold.

    >>> import tempfile
    >>> from virtualpool import apply, plan_of
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
    >>> path = Path(tempfile.mkdtemp()) / "fast.safetensors"
    >>> save(apply(model, torch.zeros(1, 3, 32, 32), ["0"]), path)
    >>> plan_of(load(model, path)).names
    ['0']
    """
    check_suffix(path, _SUFFIX)
    model = unwrapped(model)
    plan, record = plan_of(model), record_of(model)
    inner = [name for name, each in model.named_modules() if name and scale_of(each) != 1]
    if inner:
        raise VirtualPoolError(
            f"{inner[0]} of {type(model).__name__} resizes its images, which the file of the whole "
            "could not say. Save that submodule."
        )
    if plan.sites and record is None:
        raise VirtualPoolError(
            f"{type(model).__name__} is pooled inside a submodule ({plan.names[0]}), whose "
            "inputs it does not know. Save that submodule, or pool the model as a whole."
        )
    header = with_schema(
        {
            "plan": plan.to_json(),
            "inputs": record.inputs if record else None,
            "fused": record.fused_with if record else None,
            "model": original_class(model).__name__,
        }
    )
    for description in (header["inputs"], (header["fused"] or {}).get("inputs")):
        if description is not None:
            check_size(description)
    # Copies, because the format refuses tensors that share memory, such as tied weights.
    weights = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in _state(model).items()
    }
    header["sha256"] = _digest(header, weights)
    try:
        with replacing(path) as beside:
            save_file(weights, beside, metadata={_KEY: json.dumps(header)})
    except SafetensorError as error:
        raise unwritable(Path(path), error) from error


def load(
    model: nn.Module, path: Path | str, *, unfused: bool = False, resizes: bool = True
) -> nn.Module:
    """A new model with the plan and the weights of a file that `save` wrote.

    Args:
        model: the user's own unmodified model; it is not changed, its weights do not matter.
        path: a file of `save`.
        unfused: gives the pooled model even if it was saved fused: to pool more of its sites,
            or to see the gain of fusing.
        resizes: a model with an image scale resizes its images itself. False gives one for images
            that have that size already: round(image_scale * H) by round(image_scale * W). A
            detector of torchvision resizes in either case, to the same size.

    Returns:
        The model that was saved, bit-equal, on the device of `model`. One that was not fused for
        training is in eval mode.

    Raises:
        VirtualPoolError: the file is missing, cut off, changed, not of `save`, of a newer version,
            or of another model.

    Warns:
        UserWarning: the file is of virtualpool 0.1, which did not record where virtual pools are,
            and a module of the user's own decides that.
    """
    path = Path(path)
    header, weights = _read(path)
    check_model(model)
    with naming(path):
        if not (plan := plan_of(model)).is_empty:
            raise VirtualPoolError(
                f"load takes the unmodified model, and this one has {plan.in_words} already; give "
                "the model as it was built."
            )
        _check_names(header, model, weights)
        loaded, scale = copy_of(model), header.plan.image_scale
        is_detector = bool(transforms_of(loaded))
        if is_detector and scale != 1:
            attach(loaded, scale)
        if not header.plan.is_empty:
            loaded = _pooled(header, loaded)
        _set_weights(loaded, weights)
        if header.fused and not unfused:
            inputs = for_model(from_description(header.fused.inputs), loaded)
            loaded = fuse(loaded, inputs, training=header.fused.training)
        if resizes and scale != 1 and not is_detector:
            attach(loaded, scale)
        return loaded


def check_file(path: Path) -> None:
    """Refuses a file that is missing, or is not as `save` wrote it."""
    _read(path)


@dataclass(frozen=True)
class _Fused:
    """The arguments that a model was fused with."""

    inputs: dict[str, Any]
    training: bool


@dataclass(frozen=True)
class _Header:
    """The rest of a file besides the weights; one with a plan of version 1 has no hash."""

    plan: Plan
    inputs: dict[str, Any] | None = None
    fused: _Fused | None = None
    model: str | None = None
    sha256: str | None = None


def _read(path: Path) -> tuple[_Header, dict[str, Tensor]]:
    if not path.is_file():
        raise VirtualPoolError(f"{path}: there is no such file.")
    try:
        with safe_open(path, framework="pt") as file:
            written = parse_json((file.metadata() or {}).get(_KEY, "null"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise VirtualPoolError(
            f"{path}: not a whole safetensors file ({error}); give a file of "
            "virtualpool.save, or copy it again."
        ) from error
    if not isinstance(written, dict):
        raise VirtualPoolError(
            f"{path}: holds no plan, so virtualpool.save did not write it; load plain weights with "
            "load_state_dict and pool with virtualpool.apply."
        )
    with naming(path):
        header = _parsed(without_schema(written))
        _check_hash(written, header.plan, weights)
        if not header.plan.is_empty and header.inputs is None:
            raise VirtualPoolError("The header has a plan and no inputs; copy or save it again.")
    return header, weights


def _parsed(written: Any) -> _Header:
    if not isinstance(written, dict):
        raise VirtualPoolError("The header is not as virtualpool.save writes it; save it again.")
    return converted(written | {"plan": Plan.from_json(written.get("plan"))}, _Header)


def _check_hash(written: dict[str, Any], plan: Plan, weights: dict[str, Tensor]) -> None:
    """Refuses a file that changed after saving; a file of version 1 has no hash to check it by."""
    if plan.version == 1 and not written.keys() & {"sha256", "schema"}:
        return
    known = {name: value for name, value in written.items() if name != "sha256"}
    if written.get("sha256") != _digest(known, weights):
        raise VirtualPoolError("The file has changed since it was saved; copy or save it again.")


def _digest(header: dict[str, Any], weights: dict[str, Tensor]) -> str:
    """A hash of all that a file holds."""
    parts = json.dumps(header, sort_keys=True), fingerprint(dict(sorted(weights.items())))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


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


def _check_names(header: _Header, model: nn.Module, weights: dict[str, Tensor]) -> None:
    state = _state(model)
    missing = [name for name in state if name not in weights]
    unknown = [name for name in weights if name not in state]
    unlike = [
        f"{name} {tuple(weights[name].shape)} in place of {tuple(state[name].shape)}"
        for name in state
        if name in weights and weights[name].shape != state[name].shape
    ]
    wrong = {"lacks": missing, "has besides": unknown, "has": unlike}
    found = [f"{verb} {some(names)}" for verb, names in wrong.items() if names]
    if found:
        raise VirtualPoolError(
            f"it was saved from a {header.model} and does not fit this "
            f"{type(model).__name__}: it {'; it '.join(found)}. Give the model that was pooled."
        )


def _pooled(header: _Header, model: nn.Module) -> nn.Module:
    inputs = for_model(from_description(header.inputs), model)
    pooled = apply_plan(model, inputs, header.plan)
    if header.plan.version == 1:
        _warn_of_places(header.plan, model, inputs)
    now = {site.name: site.follows for site in plan_of(pooled).sites}
    for site in header.plan.sites:
        if site.follows not in (None, now[site.name]):
            raise VirtualPoolError(
                f"It was pooled by virtualpool {header.plan.library} with the virtual pool of "
                f"{site.name} after its {site.follows}; in this version and model it is after "
                f"its {now[site.name]}. Load it with that version and the model as it was then."
            )
    return pooled


def _warn_of_places(plan: Plan, model: nn.Module, inputs: Any) -> None:
    """Says of a plan that does not record its places where they may have been others.

    Each virtual pool has the place where virtualpool 0.1 put it, but that 0.1 read the code of
    modules of the user's own less well.
    """
    for part in trace(copy_of(model), inputs).parts:
        for name in plan.names:
            for node in part.calls(part.evaluation, name):
                own = [it for it in decided_by(node, part.module) if not is_known_by_class(it)]
                if own:
                    warnings.warn(
                        f"The file is of virtualpool 0.1, which may have had the virtual pool of "
                        f"{name} elsewhere beside {type(own[0]).__name__}, a module of your own. "
                        "Compare the model's output with its earlier output, and save it again.",
                        stacklevel=4,  # who called load
                    )


def _set_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _state(model).items():
            # Its dtype too: a file in another precision is given back as it was saved.
            tensor.data = weights[name].to(tensor.device).to(memory_format=_memory_format(tensor))


def _memory_format(tensor: Tensor) -> torch.memory_format:
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last and not tensor.is_contiguous() else torch.preserve_format
