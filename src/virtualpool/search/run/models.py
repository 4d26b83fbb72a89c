"""The models of a run: each in its file, in the faster of its two forms, and how fast they are."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from torch import nn

from virtualpool.apply import apply
from virtualpool.documents import write_document
from virtualpool.graph.image_scale import without_resizing
from virtualpool.measure.energy.measuring import EnergyOptions
from virtualpool.measure.latency import LatencyOptions, latency
from virtualpool.measure.prepared import Timed
from virtualpool.plan import Border, plan_of
from virtualpool.processes import agreed, is_main, wait_for_all
from virtualpool.search.run.energies import Energies, energies
from virtualpool.search.run.forms import Times, fused_if_possible, timed
from virtualpool.search.run.run import Run
from virtualpool.storage import load, save


@dataclass(frozen=True)
class Models:
    """The models that a search makes of the unmodified one, by the numbers of their rounds.

    Attributes:
        run: where they are kept.
        unmodified: the user's own; it has the number 0, and no file.
        example_inputs: the inputs to fuse and time them with.
        latency: how they are timed.
        energy: how their energy is measured, or None where that is not asked for.
        border: what convolutions read beside recovered maps.
    """

    run: Run
    unmodified: nn.Module
    example_inputs: Any
    latency: LatencyOptions
    energy: EnergyOptions | None = None
    border: Border = "exact"

    def path(self, index: int) -> Path:
        """The file of a round's model."""
        return self.run.folder(index) / "model.safetensors"

    def exists(self, index: int) -> bool:
        """Whether a round's model is in its file."""
        return agreed(self.path(index).exists())

    def loaded(self, index: int) -> nn.Module:
        """A round's model, as the user will load it."""
        return load(self.unmodified, self.path(index)) if index else self.unmodified

    def unfused(self, index: int) -> nn.Module:
        """The same unfused, for more sites to be pooled."""
        if not index:
            return self.unmodified
        return load(self.unmodified, self.path(index), unfused=True)

    def keep_faster_form(self, index: int) -> None:
        """Sees to it that the file of a round's model gives the form that is faster."""
        times = self.times(index)
        if is_main() and not times.keeps_fused:
            if times.fused is not None and times.unfused is not None:
                speed = times.fused.speedup_over(times.unfused)
                self._log(index, f"kept unfused, for fused it is slower: {speed} of that speed")
            save(self.unfused(index), self.path(index))
        wait_for_all()

    def times(self, index: int) -> Times:
        """The latency of a round's model in each form, interleaved with the unmodified one."""

        def compute() -> Any:
            times = self._fused_and_timed(index) if index else self._timed()
            # Of half resolution the rounds have nothing new to say.
            news = "fused" if index else "half_resolution"
            if why := times.missing.get(news):
                self._log(index, f"{news.replace('_', ' ')} is not timed: {why}")
            return times.to_json()

        path = self.run.folder(index) / "times.json"
        return self.run.remember(path, compute, alone=True)

    def energies(self, index: int) -> Energies:
        """The energy of a round's model, interleaved with the unmodified one, where asked for."""
        return self.energies_of(self.run.folder(index), lambda: self._alone(self.loaded(index)))

    def energies_of(self, folder: Path, kept: Callable[[], Timed]) -> Energies:
        """The same of the model that a folder of the run is about."""
        if self.energy is None:
            return Energies()
        if folder != self.run.folder(0) and (why := self.energies(0).missing):
            return Energies(missing=why)  # without a sensor for the original there is none later

        def compute() -> Any:
            assert self.energy is not None
            found = energies(
                self.unmodified, kept(), self.example_inputs, self.latency, self.energy
            )
            if found.missing:
                self.run.log(f"{folder.name}: energy is not measured: {found.missing}")
            return found.to_json()

        return self.run.remember(folder / "energy.json", compute, alone=True)

    def saved_ms(self, name: str) -> float:
        """Milliseconds that a site saves when it alone is pooled."""
        pooled = apply(self.unmodified, self.example_inputs, [name], border=self.border)
        fused, report = fused_if_possible(pooled, self.example_inputs)
        if fused is None:
            self.run.log(f"{name} alone is timed unfused: {report.remaining[0]}")
        models = {"unmodified": self.unmodified, "pooled": pooled if fused is None else fused}
        times = latency(models, self.example_inputs, **self.latency)
        pairs = zip(times["unmodified"].samples_ms, times["pooled"].samples_ms, strict=True)
        return median(before - after for before, after in pairs)

    def _fused_and_timed(self, index: int) -> Times:
        unfused = self.unfused(index)
        if not plan_of(unfused).sites:
            return self._timed(unfused=unfused)
        fused, report = fused_if_possible(unfused, self.example_inputs)
        write_document(self.run.folder(index) / "fusing.json", report.to_json())
        if fused is None:
            times = self._timed(unfused=unfused)
            return replace(times, missing=times.missing | {"fused": report.remaining[0]})
        for line in report.brief:
            self._log(index, line)
        save(fused, self.path(index))
        return self._timed(unfused=unfused, fused=fused)

    def _timed(self, **forms: nn.Module) -> Times:
        alone = {name: self._alone(form) for name, form in forms.items()}
        return timed(self.unmodified, self.example_inputs, self.latency, **alone)

    def _alone(self, model: nn.Module) -> Timed:
        """A model as it is timed: without resizing, on images that are resized already."""
        if plan_of(model).image_scale == 1:
            return model
        return without_resizing(model, self.example_inputs)

    def _log(self, index: int, message: str) -> None:
        self.run.log(f"{self.run.folder(index).name}: {message}")
