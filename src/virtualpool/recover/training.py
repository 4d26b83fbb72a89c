"""Fine-tuning a model in place: epochs and steps, and going on after a kill."""

import logging
import math
import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fingerprint import name_of
from virtualpool.fuse import training_twin
from virtualpool.graph.image_scale import given_to
from virtualpool.graph.inputs import for_model, from_description
from virtualpool.graph.random_numbers import drawn, mixed_seed, seeded
from virtualpool.measure.bench import device_of
from virtualpool.plan import plan_of, record_of
from virtualpool.processes import is_main
from virtualpool.recover.checkpoint import Checkpoint
from virtualpool.recover.objectives import Loss, Objective
from virtualpool.recover.precision import Precision, autocast
from virtualpool.recover.round import Round
from virtualpool.recover.settings import Training
from virtualpool.recover.shares import length, place, share
from virtualpool.recover.state import TrainingState

logger = logging.getLogger("virtualpool")


def train(
    model: nn.Module,
    current: Round,
    batches: Iterable[Any],
    objective: Objective,
    training: Training,
) -> None:
    """Fine-tunes `model` in place for one round, from the round's checkpoint where there is one.

    A training that was killed and started again ends with the same weights, bit by bit, as one
    that ran through: in one process, if the operators give the same twice and worker processes
    that augment are not persistent (these draw on from one epoch to the next). One that ends with a
    lower score than it began with leaves the model as it was.

    Args:
        model: the model to train; its training flags are as before afterwards.
        current: the round; says how long and how fast, takes the log, has a folder for checkpoints.
        batches: batches of images or (images, labels), gone through once an epoch.
        objective: the loss to minimise.
        training: the settings.

    Raises:
        VirtualPoolError: the batches are none or have no length, nothing can be trained, the loss
            is no scalar tensor with a gradient, or a loss or gradient is not finite; the model then
            has the weights of the last checkpoint.
    """
    flags = {module: module.training for module in model.modules()}
    try:
        with seeded(training.seed, current.index):
            _Session(model, current, batches, objective, training).run()
    finally:
        for module, flag in flags.items():
            module.training = flag


class _Session:
    def __init__(
        self,
        model: nn.Module,
        current: Round,
        batches: Iterable[Any],
        objective: Objective,
        training: Training,
    ) -> None:
        self.round = current
        self.objective = objective
        self.training = training
        self.device, self.accelerator = place(model)
        self.batches = share(batches, self.accelerator)
        self.epoch_steps = length(self.batches)
        epochs = _first_given(current.epochs, training.epochs)
        usual = max(1, int(epochs * self.epoch_steps + 0.5))
        self.steps = int(_first_given(current.training_steps, usual))
        self.learning_rate = _first_given(current.learning_rate, training.learning_rate)
        self.losses: list[float] = []
        self.saved_at = time.monotonic()
        model.to(self.device).to(memory_format=torch.channels_last)
        settings = self._settings(model)
        checkpoint = Checkpoint(current.checkpoint / "training.pt", settings)
        self.state = TrainingState(model, self.learning_rate, training, checkpoint)
        self.start = Checkpoint(current.checkpoint / "start.pt", settings)
        self.score: float | None = None

    def run(self) -> None:
        """Takes the steps that are left, and leaves the model with the weights of the end."""
        state = self.state
        self.accelerator.wait_for_everyone()
        going_on = state.load()
        self.round.rewind(state.step if going_on else -1)
        if state.finished:
            return
        loss = self.objective.on(self.device)
        trained = self.accelerator.prepare_model(
            _Trained(_trained_in_place_of(state.model), loss, self.training.mixed_precision)
        )
        if not going_on:
            self._evaluate()
            self._keep_start()
            self._save()
        epochs = math.ceil(self.steps / self.epoch_steps)
        for epoch in range(state.step // self.epoch_steps, epochs):
            self._epoch(trained, epoch)
        state.end()
        self._go_back_if_worse()
        self._save()
        if self.accelerator.num_processes > 1:
            # Each has batch-norm statistics of its own share; all end with the main one's.
            self.accelerator.wait_for_everyone()
            state.load()

    def _keep_start(self) -> None:
        if is_main():
            self.start.save({"score": self.score, "model": self.state.model.state_dict()})
        self.accelerator.wait_for_everyone()

    def _go_back_if_worse(self) -> None:
        before = self.start.load()
        if before is None:
            return
        if self.score is None:  # the training goes on after its last step
            self.score = float(self.round.evaluate(self.state.model))
        if not self.score < before["score"]:
            return
        self.state.model.load_state_dict(before["model"])
        logger.warning(
            "%s: training ended with a score of %.4f, below the %.4f of its start, so the weights "
            "from before it stay. Lower the learning rate (%g), or give more images.",
            self.round.name, self.score, before["score"], self.learning_rate,
        )  # fmt: skip

    def _epoch(self, trained: nn.Module, epoch: int) -> None:
        start = epoch * self.epoch_steps
        end = min(start + self.epoch_steps, self.steps)
        seed = self.training.seed, self.round.index, epoch
        if self.state.step > start:
            self.state.restore_random_numbers()
        else:
            torch.manual_seed(mixed_seed(*seed, 1 + self.accelerator.process_index))
        trained.train()
        batches = drawn(self.batches, mixed_seed(*seed))
        for step, batch in zip(range(start, end), batches, strict=False):
            if step < self.state.step:
                continue  # done before the training was killed
            self._step(trained, batch)
            if self.state.step < end and self._checkpoint_is_due():
                self._save()
        if self.state.step != end:
            raise VirtualPoolError(
                f"The batches ended after {self.state.step - start} of {end - start} in epoch "
                f"{epoch + 1}; give a DataLoader or a list, which can be gone through every epoch."
            )
        self._evaluate()
        self._save()

    def _step(self, trained: nn.Module, batch: Any) -> None:
        from accelerate.utils import send_to_device

        loss = trained(send_to_device(batch, self.device))
        reduced: Any = self.accelerator.reduce(loss.detach(), "mean")
        mean = float(reduced)
        self._check("loss", mean)
        norm = self.state.backward(loss)
        if not self.state.skips_overflow:
            self._check("gradient's norm", norm)
        rate = self.learning_rate * self.training.factor(self.state.step, self.steps)
        self.state.update(rate)
        self.losses.append(mean)
        if self.state.step % self.training.log_steps == 0 or self.state.step == self.steps:
            self._log(loss=sum(self.losses) / len(self.losses), learning_rate=rate)
            self.losses.clear()
        self._tell(f"loss {mean:.4g}")

    def _check(self, what: str, value: float) -> None:
        if math.isfinite(value):
            return
        failed = self.state.step + 1
        self.state.load()
        raise VirtualPoolError(
            f"Round {self.round.index}: the {what} is {value} at step {failed} of {self.steps}; "
            f"the model has the weights of the last checkpoint, after step {self.state.step}. "
            f"Lower the learning rate ({self.learning_rate:g}) or set clip."
        )

    def _evaluate(self) -> None:
        self._tell("evaluating")
        score = self.round.evaluate(self.state.result)
        self.score = float(score)
        self._log(accuracy=self.score, **score.metrics)

    def _checkpoint_is_due(self) -> bool:
        return time.monotonic() - self.saved_at >= self.training.checkpoint_seconds

    def _save(self) -> None:
        if is_main():
            self.state.save()
        self.saved_at = time.monotonic()

    def _log(self, **record: float) -> None:
        epoch = round(self.state.step / self.epoch_steps, 4)
        self.round.log(step=self.state.step, epoch=epoch, **record)

    def _tell(self, message: str) -> None:
        self.round.observer(self.round.name, self.state.step, self.steps, message)

    def _settings(self, model: nn.Module) -> dict[str, Any]:
        """The settings of a checkpoint: a start with other settings cannot go on from it."""
        free = ("log_steps", "checkpoint_seconds", "epochs", "learning_rate")
        settings = {name: value for name, value in vars(self.training).items() if name not in free}
        return settings | {
            "objective": str(self.objective),
            "plan": ", ".join(plan_of(model).names),
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "steps per epoch": self.epoch_steps,
        }


class _Trained(nn.Module):
    """The model and its loss as one module, for several processes to wrap."""

    def __init__(self, model: nn.Module, loss: Loss, precision: Precision) -> None:
        super().__init__()
        self.model = model
        self._loss = loss
        self._precision: Precision = precision

    def forward(self, batch: Any) -> Tensor:
        with autocast(device_of(self.model), self._precision):
            return _checked(self._loss, self._loss(self.model, batch))


def _checked(loss: Loss, value: Any) -> Tensor:
    """A loss that a training can go by: a scalar with a gradient."""
    if not isinstance(value, Tensor):
        found = "nothing (None)" if value is None else f"a {type(value).__name__}"
    elif value.numel() != 1:
        found = f"a tensor of shape {tuple(value.shape)}"
    elif not value.is_floating_point():
        found = f"a tensor of dtype {str(value.dtype).removeprefix('torch.')}"
    elif not value.requires_grad:
        found = "a tensor without a gradient"
    else:
        return value.reshape(())
    raise VirtualPoolError(
        f"The loss {name_of(loss)} gave {found} for a batch. Return a scalar tensor that is "
        "computed from the model's outputs, such as the mean of each image's loss."
    )


def _trained_in_place_of(model: nn.Module) -> nn.Module:
    """The model to train: the fused twin of a pooled model, which has the same parameters."""
    record = record_of(model)
    if record is None or not record.plan.sites:
        return model
    seen = for_model(from_description(record.inputs), model)
    twin = training_twin(model, given_to(model, seen))
    return twin.to(memory_format=torch.channels_last)


def _first_given(asked: float | None, usual: float) -> float:
    return usual if asked is None else asked
