"""A model recovered as a round asks: by one recovery after the other, each kept in a file."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fingerprint import name_of
from virtualpool.graph.random_numbers import seeded
from virtualpool.processes import agreed, is_main, wait_for_all
from virtualpool.recover.round import Finetune, Round
from virtualpool.search.finite import finite_values
from virtualpool.search.run import Run
from virtualpool.storage import save


@dataclass(frozen=True)
class Recovering:
    """The recoveries of a search, and what they need of it.

    Attributes:
        run: keeps the log.
        recoveries: one after the other; with none a model is kept as it is.
        example_inputs: inputs that the models run on.
        seed: of the search.
    """

    run: Run
    recoveries: tuple[Finetune, ...]
    example_inputs: Any
    seed: int

    def recover(
        self,
        model: nn.Module,
        current: Round,
        path: Path,
        name: str,
        again: Callable[[Path], nn.Module],
    ) -> None:
        """Recovers a model, as a round asks for it, and keeps it.

        Each recovery of several begins from the last one's file, so a round that goes on takes the
        same path as one that runs through.

        Args:
            model: the model to recover.
            current: the round, with a folder for the state that a restart after a kill needs.
            path: the file to keep the model in.
            name: the model's name in the log.
            again: gives the model of such a file.
        """
        *earlier, last = self.recoveries or (None,)
        count = range(1, 1 + len(earlier))
        kept = [current.directory / f"recovered-{place}.safetensors" for place in count]
        for place, (finetune, file) in enumerate(zip(earlier, kept, strict=True), 1):
            if not agreed(file.exists()):
                self._recover_by(finetune, model, replace(current, recovery=place), file, name)
            model = again(file)
        end = replace(current, recovery=1 + len(earlier))
        self._recover_by(last, model, end, path, name)
        if is_main():
            shutil.rmtree(current.checkpoint, ignore_errors=True)
            for file in kept:
                file.unlink(missing_ok=True)
        wait_for_all()

    def _recover_by(
        self, finetune: Finetune | None, model: nn.Module, current: Round, path: Path, name: str
    ) -> None:
        """Changes a model in place by one recovery, if there is one, and keeps it."""
        if finetune is not None:
            self.run.log(f"{name}: recovery by {str(name_of(finetune)).removeprefix('by_')}")
            current.begin()
            finite = finite_values(model.eval(), self.example_inputs)
            # One recovery alone draws the same numbers as the first of several.
            later = (current.recovery,) if current.recovery > 1 else ()
            with seeded(self.seed, "finetune", current.index, *later):
                finetune(model.train(), current)
            if lost := finite - finite_values(model, self.example_inputs):
                raise VirtualPoolError(
                    f"{name}: after recovery, {min(lost)} holds values that are not finite, so "
                    "the round is not kept. Lower the learning rate, in another directory."
                )
        model.eval()
        wait_for_all()
        if is_main():
            save(model, path)
        wait_for_all()
