"""The folded values of a fused module follow its parameters, however these change.

They are kept in buffers, and each forward asks whether they are still right. Where not, it folds
anew. Where gradients are to reach the parameters, they go through the folding.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fuse.onnx.fixed_sizes import of_fixed_sizes
from virtualpool.graph.forward import ForwardCode, Rewritten, original_class
from virtualpool.graph.snapshot import Snapshot, attribute
from virtualpool.operator.autocast import without_autocast
from virtualpool.operator.exporting import is_captured, is_traced_by_jit
from virtualpool.torch_private import is_exporting

HAS_BORDER = "_virtualpool_has_border"
"""Where a fused module keeps whether it makes the border of a map."""
_FOLDING = "_virtualpool_folding"
_SNAPSHOT = "_virtualpool_snapshot"
_BUFFER = "_virtualpool_folded_"


@dataclass(frozen=True)
class Folding:
    """The computation of a module's folded values.

    Attributes:
        paths: the parameters and buffers that it is computed from.
        code: a function of nothing (in place of the module) and these tensors.
        count: how many tensors it gives.
    """

    paths: tuple[str, ...]
    code: ForwardCode
    count: int

    def tensors(self, module: nn.Module) -> list[Tensor]:
        """A module's parameters and buffers at the paths."""
        return [attribute(module, path) for path in self.paths]

    def __call__(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The folded values of tensors in the order of the paths."""
        with without_autocast(tensors[0]):
            return tuple(map(_dense, self.code.function(None, *tensors)))


def _dense(value: Tensor) -> Tensor:
    """A value without gaps in memory: ExecuTorch takes no part of a kernel as a constant."""
    layouts = torch.contiguous_format, torch.channels_last
    has_gaps = not any(value.is_contiguous(memory_format=each) for each in layouts)
    return value.clone() if has_gaps else value


def follow(module: nn.Module, folding: Folding) -> list[str]:
    """Folds a module's parameters into buffers, and gives their names.

    The buffers are no part of the state, so checkpoints of the model fit as before.
    """
    setattr(module, _FOLDING, folding)
    setattr(module, _SNAPSHOT, Snapshot.of(module, folding.paths))
    names = [f"{_BUFFER}{number}" for number in range(folding.count)]
    with torch.no_grad():
        values = folding(folding.tensors(module))
    for name, value in zip(names, values, strict=True):
        module.register_buffer(name, value, persistent=False)
    # The forward would see it; but a compiled one does not ask.
    module.register_load_state_dict_post_hook(_refold_after_loading)
    return names


def _refold_after_loading(module: nn.Module, incompatible_keys: Any) -> None:
    refold(module)


@torch.inference_mode(False)
@torch.no_grad()
def refold(module: nn.Module) -> None:
    """Folds a module's parameters as they are now.

    Raises:
        VirtualPoolError: they have other shapes than before, as after pruning.
    """
    folding = getattr(module, _FOLDING, None)
    if folding is None:
        return
    snapshot = Snapshot.of(module, folding.paths)
    for number, value in enumerate(folding(folding.tensors(module))):
        _put(module, f"{_BUFFER}{number}", value)
    setattr(module, _SNAPSHOT, snapshot)


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    buffer = module.get_buffer(name)
    if buffer.shape != value.shape:
        raise VirtualPoolError(
            f"{original_class(module).__name__} is fused, and a value that it had folded to "
            f"{tuple(buffer.shape)} now has {tuple(value.shape)}: its parameters have other "
            "shapes than when it was fused. Prune the original model, or the unfused pooled one, "
            "and fuse then: virtualpool.fuse(pruned, example_inputs)."
        )
    is_other_kind = (buffer.dtype, buffer.device) != (value.dtype, value.device)
    if is_other_kind or buffer.is_inference():
        setattr(module, name, value)
    # A backward that is still to come refuses buffers that were written to.
    elif buffer.is_meta or not torch.equal(buffer, value):
        # In place: it keeps its memory format, and may be part of a captured CUDA graph.
        buffer.copy_(value)


def makes_borders(model: nn.Module) -> bool:
    """Whether a fused part of a model makes borders, which depend on the size of its inputs."""
    return any(getattr(module, HAS_BORDER, False) for module in model.modules())


class Folded(Rewritten):
    """Comes before the class of a fused module: its folded values follow its parameters."""

    def for_evaluation(self, inputs: Any) -> tuple[Any, Any]:
        """See `Rewritten`."""
        if not is_captured():
            return _reader(self), inputs
        has_border = getattr(self, HAS_BORDER)
        name = self.original_class.__name__
        fixed = of_fixed_sizes(inputs, name, has_border=has_border)
        return _reader_when_captured(self), fixed

    def follow_parameters(self) -> None:
        """See `Rewritten`."""
        refold(self)  # pyright: ignore[reportArgumentType]

    def train(self, mode: bool = True) -> Any:
        """See `torch.nn.Module`; in eval mode the learned parameters are folded."""
        super().train(mode)  # pyright: ignore[reportAttributeAccessIssue]
        if not mode:
            self.follow_parameters()
        return self

    def _apply(self, fn: Any, *arguments: Any, **keywords: Any) -> Any:
        # A class of somebody else's may take the function alone.
        super()._apply(fn, *arguments, **keywords)  # pyright: ignore[reportAttributeAccessIssue]
        # From parameters of another dtype, not the values rounded in the one before.
        self.follow_parameters()
        return self


def _reader(module: Any) -> Any:
    """The object whose attributes the code of eval mode reads: right for the call at hand."""
    folding = getattr(module, _FOLDING, None)
    if folding is None:
        return module
    snapshot = getattr(module, _SNAPSHOT)
    is_current = bool(snapshot and snapshot.is_current())
    if is_current and not _learns(snapshot.tensors):
        return module
    tensors = folding.tensors(module)
    if not is_current:
        can_follow = Snapshot.of(module, folding.paths) is not None
        # A backward that is still to come may need the buffers as they are.
        if not can_follow or (snapshot is not None and _learns(tensors)):
            return _Reader(module, folding(tensors))
        refold(module)
    if not _learns(tensors):
        return module
    folded = [module.get_buffer(f"{_BUFFER}{each}") for each in range(folding.count)]
    return _Reader(module, _Remembered.apply(folding, folded, *tensors))


def _reader_when_captured(module: Any) -> Any:
    """The same for a call that is captured, of whose folding the captured code is a part."""
    folding = getattr(module, _FOLDING, None)
    # Nobody goes back through a program, and the folded values are part of it. A compiled model
    # would guard every parameter that is looked at here, at each of its calls.
    is_read_alone = is_exporting() or is_traced_by_jit() or not torch.is_grad_enabled()
    if folding is None or is_read_alone:
        return module
    tensors = folding.tensors(module)
    return _Reader(module, folding(tensors)) if _learns(tensors) else module


def _learns(tensors: Iterable[Tensor]) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


class _Reader:
    """A module's attributes, with other values in place of its buffers of folded values."""

    def __init__(self, module: nn.Module, folded: Sequence[Tensor]) -> None:
        self._module = module
        for number, value in enumerate(folded):
            setattr(self, f"{_BUFFER}{number}", value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class _Remembered(torch.autograd.Function):
    """Values folded already, as a function of the parameters: folding costs the backward alone."""

    @staticmethod
    def forward(folding: Folding, folded: list[Tensor], *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(value.detach() for value in folded)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.folding, _, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        is_wanted = ctx.needs_input_grad[2:]
        with torch.enable_grad():
            # One tensor may be there twice, as tied weights are: each place has its own gradient.
            tensors = [tensor.view_as(tensor) for tensor in ctx.saved_tensors]
            folded = ctx.folding(tensors)
        wanted = [tensor for tensor, wants in zip(tensors, is_wanted, strict=True) if wants]
        pairs = zip(folded, gradients, strict=True)
        outputs, of_outputs = zip(*(pair for pair in pairs if pair[0].requires_grad), strict=True)
        found = iter(
            torch.autograd.grad(
                outputs,
                wanted,
                of_outputs,
                create_graph=torch.is_grad_enabled(),
                allow_unused=True,
            )
        )
        return None, None, *(next(found) if wants else None for wants in is_wanted)
