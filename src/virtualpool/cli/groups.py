"""Options that belong together, as values that commands share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from virtualpool.cli import options

if TYPE_CHECKING:
    from virtualpool.cli.task import Task
    from virtualpool.measure.energy.measuring import EnergyOptions
    from virtualpool.measure.latency import LatencyOptions
    from virtualpool.measure.prepared import Conditions


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A network, and the data that it is judged by."""

    model: options.Model
    data: options.Data
    weights: options.Weights = None
    task: options.Task = "classification"
    metric: options.Metric = "voc"
    ignore: options.Ignore = 255
    size: options.Size = None
    resize: options.Resize = None
    mean: options.Mean = None
    std: options.Std = None
    subset: options.Subset = None
    batch_size: options.BatchSize = None
    workers: options.Workers = None
    seed: options.Seed = 0
    device: options.Device = None
    labels: options.Labels = True

    def opened(self, augment: str | None = None) -> "Task":
        """Loads the network and opens the data; training images are varied by `augment`."""
        from virtualpool.cli.data import Preparation
        from virtualpool.cli.task import open_task

        return open_task(
            self.model,
            self.weights,
            self.data,
            Preparation(self.size, self.resize, self.mean, self.std, augment),
            task=self.task,
            metric=self.metric,
            ignored=self.ignore,
            device=self.device,
            batch_size=self.batch_size,
            subset=self.subset,
            workers=self.workers,
            seed=self.seed,
            labels=self.labels,
        )


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How networks are timed."""

    mode: options.Mode = "eager"
    threads: options.Threads = None
    timing_batch: options.TimingBatch = 1
    dtype: options.Dtype = "float32"
    channels_last: options.ChannelsLast = True
    repeats: options.Repeats = 15

    def latency(self) -> "LatencyOptions":
        """Options of `virtualpool.measure.latency`."""
        return {**self.conditions(), "repeats": self.repeats}

    def conditions(self) -> "Conditions":
        """The conditions that hold for energy, too."""
        return {
            "mode": self.mode,
            "threads": self.threads,
            "batch": self.timing_batch,
            "dtype": self.dtype,
            "channels_last": self.channels_last,
        }


@dataclass(frozen=True, kw_only=True)
class Metering:
    """How energy is measured."""

    energy: options.Energy = False
    energy_from: options.EnergyFrom = None
    energy_unit: options.EnergyUnit = "W"
    energy_interval: options.EnergyInterval = 1.0
    energy_idle: options.EnergyIdle = "include"
    energy_repeats: options.EnergyRepeats = 5

    def asked(self) -> "EnergyOptions | None":
        """Options of `virtualpool.measure.energy`; None where energy is not asked for.

        Raises:
            VirtualPoolError: the meter that is named cannot be read.
        """
        from virtualpool.measure import meter

        source = self.energy_from
        if not self.energy and source is None:
            return None
        unit, interval = self.energy_unit, self.energy_interval
        return {
            "meter": None if source is None else meter(source, unit=unit, interval=interval),
            "idle": self.energy_idle,
            "repeats": self.energy_repeats,
        }
