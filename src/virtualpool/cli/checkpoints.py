"""A network's weights in a checkpoint of an everyday kind: nested, and with prefixed names."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError

State = dict[str, Tensor]

PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""Put before names by DistributedDataParallel, torch.compile, Lightning and training loops."""


def weights_in(content: Any, module: nn.Module, key: str | None = None) -> State:
    """The state dict of a network in a checkpoint, under the network's own names.

    A checkpoint is a state dict, or a mapping that holds one beside epochs and optimizers, as in
    `{"model": ..., "epoch": 3}`. With several the key says which; without a key only one may
    fit.

    Raises:
        VirtualPoolError: there is no state dict, not under this key, or several that fit.

    >>> import torch
    >>> state = {"module.weight": torch.zeros(1, 2), "module.bias": torch.zeros(1)}
    >>> sorted(weights_in({"epoch": 3, "model": state}, nn.Linear(2, 1)))
    ['bias', 'weight']
    """
    found = _states(content)
    if key is not None:
        if key not in found:
            raise VirtualPoolError(f"no weights under {key!r}; {_there_are(found)}.")
        return _own_names(found[key], module)
    if not found:
        raise VirtualPoolError(f"holds no weights, but {_kind(content)}.")
    fitting = [name for name, state in found.items() if _fits(_own_names(state, module), module)]
    if len(fitting) > 1:
        named = ", ".join(map(repr, fitting))
        raise VirtualPoolError(f"several weights fit: {named}. Say which: FILE#{fitting[0]}.")
    chosen = fitting[0] if fitting else next(iter(found))
    return _own_names(found[chosen], module)


def _states(content: Any) -> dict[str, State]:
    """Every state dict of a checkpoint by its key; the checkpoint itself has an empty one."""
    if not isinstance(content, Mapping):
        return {}
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return {"": dict(content)}
    found: dict[str, State] = {}
    for key, value in content.items():
        for inner, state in _states(value).items():
            found[f"{key}.{inner}" if inner else str(key)] = state
    return found


def _own_names(state: State, module: nn.Module) -> State:
    """The state under the network's names: prefixes that all of these have are taken away."""
    wanted = module.state_dict().keys()
    while not wanted & state.keys():
        prefix = next((each for each in PREFIXES if any(n.startswith(each) for n in state)), None)
        if prefix is None:
            break
        # What lacks the prefix is beside the network, such as the weights of a loss.
        state = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
    return state


def _fits(state: State, module: nn.Module) -> bool:
    own = module.state_dict()
    return own.keys() == state.keys() and all(own[name].shape == state[name].shape for name in own)


def _there_are(found: Mapping[str, State]) -> str:
    names = [repr(name) for name in found if name]
    return f"there are {', '.join(names)}" if names else "the file is one state dict, without keys"


def _kind(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a mapping of {', '.join(map(repr, list(content)[:5])) or 'nothing'}"
    return f"a {type(content).__name__}"
