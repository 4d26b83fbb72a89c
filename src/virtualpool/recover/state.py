"""The state of a training: weights, optimiser, averages, random numbers, in one file."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from virtualpool.graph import random_numbers
from virtualpool.measure.bench import device_of
from virtualpool.recover.checkpoint import Checkpoint
from virtualpool.recover.settings import Training


class TrainingState:
    """A model in training; `save` and `load` keep all of it, whole or absent.

    Attributes:
        model: the model in training, changed in place.
        step: optimiser steps that are done.
        finished: there is nothing left to do; the model has its last weights.
    """

    def __init__(
        self, model: nn.Module, learning_rate: float, training: Training, checkpoint: Checkpoint
    ) -> None:
        self.model = model
        self.step = 0
        self.finished = False
        self._checkpoint = checkpoint
        self._clip = training.clip
        self._optimizer = training.make_optimizer(model, learning_rate)
        self._device = device_of(model)
        self._scaler = torch.amp.GradScaler(
            self._device.type, enabled=training.mixed_precision == "fp16"
        )
        self._average: AveragedModel | None = None
        if training.ema is not None:
            self._average = AveragedModel(
                model, multi_avg_fn=_warming_up(training.ema), use_buffers=True
            )

    @property
    def result(self) -> nn.Module:
        """The model whose weights count: the average where there is one."""
        return self.model if self._average is None else self._average.module

    def backward(self, loss: Tensor) -> float:
        """Computes the gradients; gives their norm (with fp16, of the gradients as scaled down)."""
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        trained = [p for p in self.model.parameters() if p.grad is not None]
        norm = get_total_norm([p.grad for p in trained if p.grad is not None])
        if self._clip is not None:
            clip_grads_with_norm_(trained, self._clip, norm)
        return float(norm)

    def update(self, learning_rate: float) -> None:
        """Takes a step along the gradients."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update_parameters(self.model)
        self.step += 1

    @property
    def skips_overflow(self) -> bool:
        """Whether a step whose gradients are not finite is left out, as fp16 does by design."""
        return self._scaler.is_enabled()

    def end(self) -> None:
        """Gives the model the weights that count."""
        self.model.load_state_dict(self.result.state_dict())
        self.finished = True

    def save(self) -> None:
        """Writes all of it in the place of the last state."""
        state: dict[str, Any] = {
            "step": self.step,
            "finished": self.finished,
            "model": self.model.state_dict(),
        }
        if not self.finished:
            state["optimizer"] = self._optimizer.state_dict()
            state["scaler"] = self._scaler.state_dict()
            state["average"] = self._average and self._average.state_dict()
            state["random numbers"] = random_numbers.of_pytorch(self._device)
        self._checkpoint.save(state)

    def load(self) -> bool:
        """Goes on from the last state written; stays as it is, and says so, where there is none."""
        state = self._checkpoint.load()
        if state is None:
            return False
        self.step, self.finished = state["step"], state["finished"]
        self.model.load_state_dict(state["model"])
        if not self.finished:
            self._load_training(state)
        return True

    def _load_training(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._saved_random_numbers = state["random numbers"]

    def restore_random_numbers(self) -> None:
        """Draws go on as after the last step written."""
        random_numbers.restore_pytorch(self._saved_random_numbers, self._device)


def _warming_up(decay: float) -> Any:
    # Smaller decays at first: otherwise the start would weigh on for 1 / (1 - decay) steps.
    def average(averages: Any, current: Any, count: Tensor | int) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(count)) / (10 + int(count))))(
            averages, current, count
        )

    return average
