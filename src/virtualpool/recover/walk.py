"""Two models walked together over all images, from layer to layer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.recover.forwards import PausedForward, pausing_at
from virtualpool.recover.layers import Order

Paused = tuple[Tensor, Tensor]
"""What a layer of the pooled model reads, and what the original's gives."""
_GIB = 2**30


@dataclass(frozen=True)
class Pair:
    """The calls of both models with one batch of images."""

    solved: Callable[[], Any]
    original: Callable[[], Any]


class Walk:
    """The forwards of all batches, which wait at the same layer.

    Forwards that do not fit into the memory are begun anew for each layer, and end there.

    Args:
        solved: the pooled model.
        original: the unmodified model.
        pairs: the calls, one pair a batch.
        order: in which layers are called.
        memory_gib: what waiting forwards may hold, about.
    """

    def __init__(
        self,
        solved: nn.Module,
        original: nn.Module,
        pairs: list[Pair],
        order: Order,
        memory_gib: float,
    ) -> None:
        self._models = solved, original
        self._pairs, self._order = pairs, order
        # Both models wait with what a layer reads and gives, and a shortcut as large.
        a_batch = 4 * order.largest
        self._held = min(len(pairs), int(memory_gib * _GIB / a_batch))

    def steps(self) -> Iterator[tuple[int, str, list[Paused]]]:
        """Each call of a layer: its index, the layer's name, and the maps of each batch.

        The layer runs, with the weights that it has then, when the next step is asked for.
        """
        watched = list(dict.fromkeys(self._order.calls))
        solved, original = self._models
        forwards: list[tuple[PausedForward, PausedForward]] = []
        with pausing_at(solved, before=watched), pausing_at(original, after=watched):
            try:
                forwards = [_begun(pair) for pair in self._pairs[: self._held]]
                for index, name in enumerate(self._order.calls):
                    paused = [(_next(one, name), _next(two, name)) for one, two in forwards]
                    paused += [self._repeated(pair, index) for pair in self._pairs[self._held :]]
                    yield index, name, paused
            finally:
                for pair in forwards:
                    for forward in pair:
                        forward.give_up()

    def all_calls(self, name: str) -> list[list[Paused]]:
        """What a layer reads and the original's gives, of each batch, in all calls of a forward."""
        solved, original = self._models
        module, its = solved.get_submodule(name), original.get_submodule(name)
        found: list[list[Paused]] = []
        for pair in self._pairs:
            reads: list[Tensor] = []
            gives: list[Tensor] = []
            handles = [
                module.register_forward_hook(lambda _, given, __, to=reads: to.append(given[0])),
                its.register_forward_hook(lambda _, __, out, to=gives: to.append(out)),
            ]
            try:
                pair.solved()
                pair.original()
            finally:
                for handle in handles:
                    handle.remove()
            found.append([*zip(reads, gives, strict=False)])
        return found

    def _repeated(self, pair: Pair, index: int) -> Paused:
        one, two = forwards = _begun(pair)
        try:
            for name in self._order.calls[:index]:
                for forward in forwards:
                    _next(forward, name)
            name = self._order.calls[index]
            return _next(one, name), _next(two, name)
        finally:
            for forward in forwards:
                forward.give_up()


def _begun(pair: Pair) -> tuple[PausedForward, PausedForward]:
    return PausedForward(pair.solved), PausedForward(pair.original)


def _next(forward: PausedForward, name: str) -> Tensor:
    paused = forward.advance()
    if paused is None or paused[0] != name:
        raise VirtualPoolError(
            f"{name} is not the next layer for all images, so the model cannot be reconstructed; "
            "give images for which its forward takes the same path."
        )
    return paused[1]
