import pytest
import torch

from virtualpool.measure.score import Score
from virtualpool.observer import printed
from virtualpool.plan import Plan
from virtualpool.records import read_records
from virtualpool.recover.round import Round


@pytest.fixture
def current(tmp_path) -> Round:
    return Round(2, ("a",), Plan(), tmp_path / "round-02", 0.1, 3, lambda _: Score(0.5))


def test_names(current):
    assert current.name == "round-02"
    assert current.checkpoint == current.directory / "checkpoint"


def test_it_is_shown_in_a_line(current):
    assert repr(current) == "Round(round-02: 0 sites pooled, 1 of them new)"


def test_log_writes_numbers_as_they_come(current):
    loss = torch.tensor(0.25, requires_grad=True)
    current.log(step=1, loss=loss, note="warm-up")
    current.log(step=2, loss=loss.double().numpy(force=True))
    assert read_records(current.journal) == [
        {"step": 1, "loss": 0.25, "note": "warm-up"},
        {"step": 2, "loss": 0.25},
    ]


@pytest.mark.parametrize(
    ("step", "kept"), [(0, [1]), (10, [1, 2]), (15, [1, 2]), (99, [1, 2, 3, 4])]
)
def test_rewind_drops_later_steps(current, step, kept):
    records = [{"note": "begin"}, {"step": 10}, {"step": 20}, {"step": 30, "loss": 1.0}]
    for record in records:
        current.log(**record)
    with current.journal.open("a") as file:
        file.write('{"step": 4')
    current.rewind(step)
    assert read_records(current.journal) == [records[index - 1] for index in kept]
    assert len(current.journal.read_text().splitlines()) == len(kept)


def test_rewind_without_records(current):
    current.rewind(5)
    assert read_records(current.journal) == []
    current.log(step=6)
    assert read_records(current.journal) == [{"step": 6}]


def test_a_training_alone_pools_nothing_and_has_a_folder(tmp_path):
    found = Round.of_training(tmp_path / "deep" / "run", lambda _: Score.of(1.0), printed)
    assert (found.index, found.added, found.plan.is_empty) == (0, (), True)
    assert found.journal.parent.is_dir()
