"""Two models walked together over all images, from layer to layer."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from virtualpool.graph.random_numbers import Stream
from virtualpool.recover.forwards import PausedForward, keeping, pausing_at, read_by
from virtualpool.recover.layers import Order
from virtualpool.recover.memories import Files, Memories
from virtualpool.recover.shortcuts import Shortcut, drift

_GIB = 2**30


class Maps(NamedTuple):
    """The maps of both models at a call of a layer.

    Attributes:
        x: the input of the pooled model's layer.
        output: of the original's.
        drift: by how much the original's shortcut beside the layer is more than the pooled
            model's; None where there is none.
    """

    x: Tensor
    output: Tensor
    drift: Tensor | None = None


@dataclass(frozen=True)
class Pair:
    """The calls of both models with one batch of images.

    Attributes:
        number: the number of the batch.
        solved: calls the pooled model.
        original: calls the original.
        seed: of the random numbers that each of the calls draws; none where they draw none.
    """

    number: int
    solved: Callable[[], Any]
    original: Callable[[], Any]
    seed: int | None = None

    def streams(self) -> "list[Callable[[], AbstractContextManager[None]]]":
        """The random numbers of each call: the same of both."""
        if self.seed is None:
            return [nullcontext, nullcontext]
        return [Stream(self.seed).current, Stream(self.seed).current]

    def results(self) -> list[Any]:
        """The results of both calls."""
        found = []
        for call, stream in zip((self.solved, self.original), self.streams(), strict=True):
            with stream():
                found.append(call())
        return found


class Walk:
    """The forwards of batches: each waits at a layer until its maps are asked for again.

    Waiting forwards keep tensors beyond the memory in temporary files. A forward on another path
    than the first batch's is repeated for each layer from there on.

    Args:
        solved: the pooled model.
        original: the unmodified model.
        solving: the calls, one pair a batch.
        judging: those with images that are held out.
        order: in which layers are called.
        shortcuts: beside layers, by the names of these.
        memory_gib: the memory of waiting forwards, about.
    """

    def __init__(
        self,
        solved: nn.Module,
        original: nn.Module,
        solving: list[Pair],
        judging: list[Pair],
        order: Order,
        shortcuts: dict[str, Shortcut],
        memory_gib: float,
    ) -> None:
        self._models, self._shortcuts = (solved, original), shortcuts
        self._parts, self._order = (solving, judging), order
        self._held = int(memory_gib * _GIB / (2 * order.held))
        self._stack = ExitStack()
        self._waiting: tuple[list[_Waiting], list[_Waiting]] = [], []

    def __enter__(self) -> "Walk":
        watched = list(dict.fromkeys(self._order.calls))
        solved, original = self._models
        for model in self._models:
            self._stack.enter_context(keeping(model, self._shortcuts))
        self._stack.enter_context(pausing_at(solved, before=watched))
        self._stack.enter_context(pausing_at(original, after=watched))
        files = None
        if self._held < sum(map(len, self._parts)):
            files = Files()
            self._stack.callback(files.close)
        for pairs, waiting in zip(self._parts, self._waiting, strict=True):
            for pair in pairs:
                self._held -= 1
                waiting.append(_Waiting(pair, files if self._held < 0 else None))
                self._stack.callback(waiting[-1].end)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def maps(self, index: int, *, judging: bool) -> Iterator[tuple[int, list[Maps]]]:
        """The number of each batch and its maps at a layer, of all calls of the layer.

        Layers before it run with the weights that they have when they are first gone past.

        Args:
            index: of the layer's first call, in the order; not less than at the last time.
            judging: of the images that are held out.
        """
        calls = self._order.calls
        is_shared = calls.count(calls[index]) > 1
        for waiting in self._waiting[judging]:
            if not is_shared and not waiting.is_astray:
                with waiting.awake():
                    if waiting.go_to(calls[: index + 1]):
                        yield waiting.pair.number, [waiting.maps(calls[index])]
                        continue
            yield waiting.pair.number, self._all_calls(waiting.pair, calls[index])

    def _all_calls(self, pair: Pair, name: str) -> list[Maps]:
        """The maps of all calls in a forward of its own; none if the models differ in number."""
        solved, original = self._models
        reads: list[Tensor] = []
        gives: list[Tensor] = []
        # Copies: the code that follows may change a map in place.
        handles = [
            solved.get_submodule(name).register_forward_pre_hook(
                lambda _, given, named: reads.append(read_by(given, named).clone()),
                with_kwargs=True,
            ),
            original.get_submodule(name).register_forward_hook(
                lambda _, __, out: gives.append(out.clone())
            ),
        ]
        try:
            pair.results()
        finally:
            for handle in handles:
                handle.remove()
        return [*map(Maps, reads, gives)] if len(reads) == len(gives) else []


class _Waiting:
    """Both forwards of a batch.

    Attributes:
        pair: their calls.
        is_astray: whether they have left the path of the first batch.
    """

    def __init__(self, pair: Pair, files: Files | None) -> None:
        self.pair, self._streams = pair, pair.streams()
        self.is_astray = False
        self._maps: Any = None
        self._at = 0
        self._memories = [Memories(files), Memories(files)] if files else []
        within = self._memories or [None, None]
        self._forwards = [
            PausedForward(call, its)
            for call, its in zip((pair.solved, pair.original), within, strict=True)
        ]

    def go_to(self, calls: list[str]) -> bool:
        """Goes on to the last of some calls; says whether these were the calls on the way."""
        for name in calls[self._at :]:
            for forward in self._forwards if self._at else ():
                forward.kept.pop(calls[self._at - 1], None)  # the layer is solved
            paused = [self._advance(number) for number in range(2)]
            if any(each is None or each[0] != name for each in paused):
                self.end()
                self.is_astray = True
                return False
            self._maps = paused[0][1], paused[1][1]
            self._at += 1
        return True

    def maps(self, name: str) -> Maps:
        """The maps of the layer at which they wait."""
        pooled, original = (forward.kept.get(name) for forward in self._forwards)
        x, output = self._maps
        if pooled is None or original is None:
            return Maps(x, output)
        return Maps(x, output, drift(pooled, original))

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Has the tensors that the forwards hold in memory, within."""
        for memories in self._memories:
            memories.from_files()
        try:
            yield
        finally:
            for memories in self._memories:
                memories.to_files()

    def end(self) -> None:
        """Ends the forwards. The tensors that the models keep of them have their contents."""
        self._maps = None
        for forward in self._forwards:
            forward.kept.clear()
            forward.give_up()
        for memories in self._memories:
            memories.from_files()

    def _advance(self, number: int) -> Any:
        with self._streams[number]():
            return self._forwards[number].advance()
