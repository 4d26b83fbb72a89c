import copy
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import virtualpool as vp
from virtualpool.errors import VirtualPoolError
from virtualpool.recover import training as training_module
from virtualpool.search import by_distillation, by_labels, read_records


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether all parameters and buffers are equal, bit by bit."""
    mine, its = one.state_dict(), other.state_dict()
    return list(mine) == list(its) and all(torch.equal(mine[name], its[name]) for name in mine)


FIRST = torch.zeros(8, 3, 3, 3)
"""The first weights of a network before its training."""


class StopError(Exception):
    pass


class StopAt:
    """An observer that stops the training when it is told of a step, as a kill would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, stage: str, done: int, total: int, message: str, /) -> None:
        if done == self.step and message.startswith("loss"):
            raise StopError


class TestAStep:
    """One step on one batch, against torch's optimisers used by hand."""

    @pytest.mark.parametrize(
        ("settings", "make"),
        [
            (
                {"optimizer": "sgd", "rate_schedule": "paper", "weight_decay": 0.0},
                lambda ps: torch.optim.SGD(ps, 0.1, momentum=0.9),
            ),
            (
                {"optimizer": "adamw", "rate_schedule": "paper", "weight_decay": 0.0, "drops": ()},
                lambda ps: torch.optim.AdamW(ps, 0.1, weight_decay=0.0),
            ),
        ],
    )
    def test_it_follows_the_gradient(self, network, batches, make_round, settings, make):
        network[3].p = 0.0
        expected = copy.deepcopy(network).train().to(memory_format=torch.channels_last)
        images, labels = batches[0]
        nn.functional.cross_entropy(expected(images), labels).backward()
        for group in (optimizer := make(expected.parameters())).param_groups:
            group["lr"] = 0.1 if settings.get("drops") == () else 0.01  # progress is 0.5
        optimizer.step()
        by_labels(batches[:1], epochs=1, learning_rate=0.1, **settings)(network, make_round())
        for name, value in expected.state_dict().items():
            torch.testing.assert_close(network.state_dict()[name], value, msg=name)

    def test_clip_shortens_the_gradient(self, network, batches, make_round):
        before = [parameter.detach().clone() for parameter in network.parameters()]
        options = {"weight_decay": 0.0, "drops": (), "learning_rate": 0.5}
        by_labels(batches[:1], epochs=1, clip=1e-3, **options)(network, make_round())
        moved = torch.cat(
            [(a - b).flatten() for a, b in zip(network.parameters(), before, strict=True)]
        )
        assert moved.norm().item() == pytest.approx(0.5 * 1e-3, rel=1e-2)

    def test_frozen_parameters_stay(self, network, batches, make_round):
        network[0].requires_grad_(False)
        before = copy.deepcopy(network)
        by_labels(batches, epochs=1)(network, make_round())
        assert same(network[0], before[0])
        assert not same(network[8], before[8])


def test_the_average_of_the_weights(network, batches, make_round):
    network[1] = nn.Identity()
    network[3] = nn.Identity()
    options = {"epochs": 1, "learning_rate": 0.1, "drops": (), "checkpoint_seconds": 0.0}
    visited = []
    for steps in range(1, 6):
        other = copy.deepcopy(network)
        by_labels(batches[:steps], **options)(other, make_round(f"plain-{steps}"))
        visited.append(other.state_dict())
    expected = visited[0]
    for count, weights in enumerate(visited[1:], 1):
        decay = min(0.3, (1 + count) / (10 + count))
        expected = {
            name: decay * value + (1 - decay) * weights[name] for name, value in expected.items()
        }
    # Every training is a part of the longest one: a list keeps its order.
    by_labels(batches, ema=0.3, **options)(network, make_round("averaged"))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("how", ["labels", "distillation"])
def test_it_recovers(network, batches, make_round, how, precision):
    options = {
        "epochs": 30, "learning_rate": 0.02, "optimizer": "adamw", "mixed_precision": precision,
        "rate_schedule": "cosine",
    }  # fmt: skip
    original = copy.deepcopy(network)
    if how == "labels":
        finetune = by_labels(batches, **options)
    else:
        by_labels(batches, **options)(original, make_round("teacher"))
        finetune = by_distillation(original, [images for images, _ in batches], **options)
    current = make_round()
    finetune(network, current)
    losses = [record["loss"] for record in read_records(current.journal) if "loss" in record]
    assert losses[-1] < 0.7 * losses[0]
    assert all(value.dtype != torch.bfloat16 for value in network.state_dict().values())


class TestTheLog:
    def test_its_records(self, network, batches, make_round):
        current = make_round()
        by_labels(batches, epochs=2, learning_rate=0.1, log_steps=4)(network, current)
        records = read_records(current.journal)
        scores = [(it["step"], it["epoch"]) for it in records if "accuracy" in it]
        assert scores == [(0, 0.0), (5, 1.0), (10, 2.0)]
        rates = [
            (it["step"], it["epoch"], pytest.approx(it["learning_rate"]))
            for it in records
            if "loss" in it
        ]
        assert rates == [(4, 0.8, 0.01), (8, 1.6, 0.001), (10, 2.0, 0.001)]
        assert all("largest" in it for it in records if "accuracy" in it)
        assert [it["step"] for it in records] == sorted(it["step"] for it in records)

    def test_its_scores_are_of_the_averaged_weights(self, network, batches, make_round):
        current = make_round()
        by_labels(batches, epochs=1, learning_rate=1.0, ema=0.9)(network, current)
        last = read_records(current.journal)[-1]
        assert last["mean"] == pytest.approx(next(network.parameters()).mean().item())

    def test_progress_is_told(self, network, batches, make_round):
        told = []
        current = make_round(observer=lambda *it: told.append(it))
        by_labels(batches, epochs=1)(network, current)
        assert {(stage, total) for stage, _, total, _ in told} == {("round-01", 5)}
        assert [done for _, done, _, message in told if "loss" in message] == [1, 2, 3, 4, 5]
        assert [done for _, done, _, message in told if message == "evaluating"] == [0, 5]


@pytest.mark.parametrize(
    ("default", "asked", "steps"),
    [(2, None, 10), (2, 1, 5), (2, 0.5, 3), (0.5, None, 3), (1.1, None, 6), (0.01, None, 1)],
)
def test_epochs_may_be_fractions(network, batches, make_round, default, asked, steps):
    current = make_round(epochs=asked)
    by_labels(batches, epochs=default)(network, current)
    assert read_records(current.journal)[-1]["step"] == steps


def test_a_length_and_drops_in_steps(network, batches, make_round):
    current = make_round(training_steps=7, epochs=3)
    options = {"learning_rate": 0.1, "drop_steps": (3, 6, 9), "log_steps": 1}
    by_labels(batches, **options)(network, current)
    rates = [it["learning_rate"] for it in read_records(current.journal) if "loss" in it]
    assert rates == pytest.approx([0.1] * 3 + [0.01] * 3 + [0.001])


def test_a_round_says_how_fast(network, batches, make_round):
    current = make_round(learning_rate=0.25)
    by_labels(batches, epochs=1, learning_rate=0.1, drops=())(network, current)
    assert read_records(current.journal)[-2]["learning_rate"] == 0.25


def test_the_callers_state_is_left_alone(network, batches, make_round):
    network.train()
    network[1].eval()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    by_labels(batches, epochs=1)(network, make_round())
    assert torch.equal(torch.rand(3), expected)
    assert [network.training, network[0].training, network[1].training] == [True, True, False]


def test_rounds_and_seeds_differ(network, batches, make_round):
    ends = []
    for index, seed in [(1, 0), (1, 0), (2, 0), (1, 1)]:
        other = copy.deepcopy(network)
        current = make_round(f"run-{len(ends)}", index=index)
        by_labels(batches, epochs=1, seed=seed)(other, current)
        ends.append(other)
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])
    assert not same(ends[0], ends[3])


class Noisy(TensorDataset):
    """Images with noise that is drawn anew each time, as augmentation does."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image + 0.1 * torch.randn_like(image), label


class TestGoingOn:
    @pytest.fixture
    def make_loader(self, batches):
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))

        def make(workers: int) -> DataLoader:
            return DataLoader(Noisy(images, labels), 8, shuffle=True, num_workers=workers)

        return make

    @pytest.mark.parametrize("stop", [1, 4, 5, 6, 9])
    @pytest.mark.parametrize(
        ("workers", "settings"),
        [
            (0, {"optimizer": "sgd"}),
            (0, {"optimizer": "adamw", "ema": 0.9, "clip": 1.0, "rate_schedule": "cosine"}),
            (0, {"mixed_precision": "bf16"}),
        ],
    )
    def test_the_end_is_the_same_bit_by_bit(
        self, network, make_loader, make_round, workers, settings, stop
    ):
        options: dict[str, Any] = {"epochs": 1.9, "learning_rate": 0.1, "log_steps": 1} | settings
        through, stopped = copy.deepcopy(network), copy.deepcopy(network)
        whole = make_round("whole")
        by_labels(make_loader(workers), **options)(through, whole)
        parts = [make_round("parts", observer=StopAt(stop)), make_round("parts")]
        every_step: dict[str, Any] = {"checkpoint_seconds": 0.0}
        with pytest.raises(StopError):
            by_labels(make_loader(workers), **options, **every_step)(stopped, parts[0])
        # A new process has the weights of the round's beginning.
        again = copy.deepcopy(network)
        by_labels(make_loader(workers), **options, **every_step)(again, parts[1])
        assert same(again, through)
        assert read_records(parts[1].journal) == read_records(whole.journal)

    @pytest.mark.parametrize("every", [0.0, 1e9])
    def test_workers_draw_the_same_again(self, network, make_loader, make_round, every):
        options = {"epochs": 1, "learning_rate": 0.1}
        through = copy.deepcopy(network)
        by_labels(make_loader(2), **options)(through, make_round("whole"))
        stopped = by_labels(make_loader(2), **options, checkpoint_seconds=every)
        with pytest.raises(StopError):
            stopped(copy.deepcopy(network), make_round("parts", observer=StopAt(3)))
        again = copy.deepcopy(network)
        stopped(again, make_round("parts"))
        assert same(again, through)

    def test_distillation_goes_on_too(self, network, make_loader, make_round):
        original = copy.deepcopy(network)
        with torch.no_grad():
            network[0].weight.mul_(1.5)
        options = {"epochs": 1, "learning_rate": 0.1, "labels": 0.5, "checkpoint_seconds": 0.0}
        finetune = by_distillation(original, make_loader(0), **options)
        through, again = copy.deepcopy(network), copy.deepcopy(network)
        finetune(through, make_round("whole"))
        with pytest.raises(StopError):
            finetune(copy.deepcopy(network), make_round("parts", observer=StopAt(2)))
        finetune(again, make_round("parts"))
        assert same(again, through)

    def test_a_finished_training_is_not_done_again(self, network, batches, make_round):
        finished, again = copy.deepcopy(network), copy.deepcopy(network)
        by_labels(batches, epochs=1, ema=0.9)(finished, make_round())
        journal = make_round().journal.read_text()
        by_labels(batches, epochs=1, ema=0.9)(again, make_round(observer=StopAt(1)))
        assert same(again, finished)
        assert make_round().journal.read_text() == journal

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"learning_rate": 0.2}, "learning_rate was 0.1, is 0.2"),
            ({"epochs": 3}, "steps was 5, is 15"),
            ({"optimizer": "adamw"}, "optimizer was sgd, is adamw"),
            ({"seed": 1}, "seed was 0, is 1"),
        ],
    )
    def test_other_settings_are_refused(self, network, batches, make_round, changes, message):
        options = {"epochs": 1, "learning_rate": 0.1}
        by_labels(batches, **options)(network, make_round())
        with pytest.raises(VirtualPoolError, match=message):
            by_labels(batches, **options | changes)(network, make_round())

    def test_another_objective_is_refused(self, network, batches, make_round):
        by_labels(batches, epochs=1)(network, make_round())
        with pytest.raises(
            VirtualPoolError, match=r"objective was Labels\(cross_entropy\), is Dist"
        ):
            by_distillation(network, batches, epochs=1)(network, make_round())

    def test_a_broken_checkpoint_is_named(self, network, batches, make_round):
        by_labels(batches, epochs=1)(network, make_round())
        (make_round().checkpoint / "training.pt").write_bytes(b"broken")
        with pytest.raises(VirtualPoolError, match=r"training\.pt: not a checkpoint"):
            by_labels(batches, epochs=1)(network, make_round())


class NotFinite(nn.Module):
    """A network whose loss, or only whose gradient, is not finite in one step of its training."""

    def __init__(self, inner: nn.Module, step: int, what: str) -> None:
        super().__init__()
        self.inner = inner
        self.countdown = step
        self.what = what

    def forward(self, images):
        logits = self.inner(images)
        if self.training:
            self.countdown -= 1
            if self.countdown == 0:
                if self.what == "gradient's norm":
                    return logits + (logits * 0).sqrt()
                return logits * (math.nan if self.what == "nan" else math.inf)
        return logits


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize(
    ("what", "message"),
    [("nan", "the loss is nan"), ("inf", "the loss is"), ("gradient's norm", "norm is nan")],
)
@pytest.mark.parametrize(
    ("step", "every", "kept"), [(1, 1e9, 0), (4, 1e9, 0), (4, 0.0, 3), (7, 1e9, 5), (8, 0.0, 7)]
)
def test_what_is_not_finite_stops_the_training(
    network, batches, make_round, ema, what, message, step, every, kept
):
    network[3].p = 0.0
    options = {"learning_rate": 0.1, "ema": ema, "checkpoint_seconds": every, "drops": ()}
    good = copy.deepcopy(network)
    if kept:
        with pytest.raises(StopError):
            by_labels(batches, epochs=2, **options)(good, make_round("good", observer=StopAt(kept)))
    model = NotFinite(network, step, what)
    with pytest.raises(VirtualPoolError) as stopped:
        by_labels(batches, epochs=2, **options)(model, make_round())
    text = str(stopped.value)
    assert message in text
    assert f"at step {step} of 10" in text
    assert f"after step {kept}." in text
    assert "Lower the learning rate (0.1)" in text
    assert same(model.inner, good)
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
    # Its checkpoint is there to go on from.
    model.countdown = -1
    by_labels(batches, epochs=2, **options)(model, make_round())
    assert read_records(make_round().journal)[-1]["step"] == 10


class Once:
    """Batches that have a length, and can be gone through once."""

    def __init__(self, batches) -> None:
        self.iterator = iter(batches)

    def __len__(self) -> int:
        return 5

    def __iter__(self):
        return self.iterator


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda batches: [], "no batch to train on"),
        (iter, "list_iterator have no length"),
        (lambda batches: (batch for batch in batches), "generator have no length"),
        (Once, "ended after 0 of 5 in epoch 2; give a DataLoader or a list"),
        (lambda batches: Once(batches[:3]), "ended after 3 of 5 in epoch 1"),
        (lambda batches: [images for images, _ in batches], "have no labels"),
    ],
)
def test_batches_that_cannot_be_trained_on_are_refused(
    network, batches, make_round, change, message
):
    with pytest.raises(VirtualPoolError, match=message):
        by_labels(change(batches), epochs=2)(network, make_round())


@pytest.mark.parametrize("model", [nn.Conv2d(3, 4, 3).requires_grad_(False), nn.Flatten()])
def test_nothing_to_train_is_refused(model, batches, make_round):
    with pytest.raises(VirtualPoolError, match="no parameter that requires a gradient"):
        by_labels(batches)(model, make_round())


def test_half_precision_is_refused_on_a_cpu(network, batches, make_round):
    with pytest.raises(VirtualPoolError, match='"fp16" needs a GPU'):
        by_labels(batches, mixed_precision="fp16")(network, make_round())


def test_a_checkpoint_is_written_now_and_then(network, batches, make_round, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(training_module.time, "monotonic", lambda: next(clock))
    saved = []
    save = training_module.TrainingState.save
    monkeypatch.setattr(
        training_module.TrainingState, "save", lambda self: saved.append(self.step) or save(self)
    )
    by_labels(batches * 2, epochs=1, checkpoint_seconds=25)(network, make_round())
    # The clock goes on by ten seconds whenever it is looked at: after each step and each save.
    assert saved == [0, 3, 6, 9, 10, 10]


LOSSES = {
    r"nothing \(None\)": lambda model, batch: None,
    "a float": lambda model, batch: model(batch[0]).mean().item(),
    "a tuple": lambda model, batch: (model(batch[0]).mean(), 1),
    "a dict": lambda model, batch: {"loss": model(batch[0]).mean()},
    r"a tensor of shape \(8,\)": lambda model, batch: model(batch[0]).mean(1),
    r"a tensor of shape \(0,\)": lambda model, batch: model(batch[0]).mean(1)[:0],
    "a tensor of dtype int64": lambda model, batch: model(batch[0]).argmax(1).sum(),
    "a tensor without a gradient": lambda model, batch: model(batch[0]).mean().detach(),
}


@pytest.mark.parametrize("gave", LOSSES)
def test_a_loss_that_is_no_scalar_is_refused_at_the_first_step(network, batches, make_round, gave):
    before = copy.deepcopy(network)
    with pytest.raises(VirtualPoolError, match=rf"The loss <lambda> gave {gave} for a batch\."):
        by_labels(batches, loss=LOSSES[gave])(network, make_round())
    assert all(map(torch.equal, network.parameters(), before.parameters()))


def test_a_loss_of_one_element_is_as_good_as_a_scalar(network, batches, make_round):
    by_labels(batches, loss=lambda model, batch: model(batch[0]).mean().reshape(1), epochs=1)(
        network, make_round()
    )
    assert read_records(make_round().journal)[-1]["step"] == 5


@pytest.mark.parametrize(
    "asked", [{"epochs": 0}, {"learning_rate": 0.0}, {"training_steps": 0}, {"epochs": math.nan}]
)
def test_a_round_of_nothing_is_refused(make_round, asked):
    with pytest.raises(VirtualPoolError, match=f"{next(iter(asked))} is"):
        make_round(**asked)


class TestAWorseEnd:
    """Training that ends below its start leaves the model as it was."""

    @staticmethod
    def falling(model: nn.Module) -> vp.Score:
        return vp.Score.of(-float(next(model.parameters()).detach().sub(FIRST).norm()))

    def test_the_weights_of_the_start_stay(self, network, batches, make_round, caplog):
        FIRST.copy_(next(network.parameters()).detach())
        before = copy.deepcopy(network)
        by_labels(batches, epochs=1, learning_rate=0.1)(network, make_round(evaluate=self.falling))
        assert same(network, before)
        assert "below the" in caplog.text

    @pytest.mark.parametrize("step", [2, 5, 7])
    def test_after_a_kill_too(self, network, batches, make_round, step):
        FIRST.copy_(next(network.parameters()).detach())
        before = copy.deepcopy(network)
        finetune = by_labels(batches, epochs=2, learning_rate=0.1)
        with pytest.raises(StopError):
            finetune(network, make_round(evaluate=self.falling, observer=StopAt(step)))
        finetune(network, make_round(evaluate=self.falling))
        assert same(network, before)

    def test_a_better_end_is_kept(self, network, batches, make_round):
        FIRST.copy_(next(network.parameters()).detach())
        before = copy.deepcopy(network)
        by_labels(batches, epochs=1, learning_rate=0.1)(
            network, make_round(evaluate=lambda model: vp.Score.of(-self.falling(model)))
        )
        assert not same(network, before)
