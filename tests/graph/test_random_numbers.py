import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from virtualpool.graph import random_numbers
from virtualpool.graph.random_numbers import drawn, mixed_seed, seeded

SOURCES = {
    "Python": random.random,
    "NumPy": np.random.rand,
    "PyTorch": lambda: torch.rand(()).item(),
}


@pytest.mark.parametrize("draw", SOURCES.values(), ids=SOURCES)
def test_a_draw_is_noticed_and_undone(draw):
    before = random_numbers.states()
    assert not random_numbers.are_drawn_since(before)
    first = draw()
    assert random_numbers.are_drawn_since(before)
    random_numbers.restore(before)
    assert not random_numbers.are_drawn_since(before)
    with pytest.raises(ZeroDivisionError), random_numbers.kept():
        assert draw() == first
        _ = 1 / 0
    assert draw() == first


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(()).item()


def test_the_same_key_gives_the_same_numbers():
    with seeded(0, "round", 1):
        first = _draw()
    _draw()
    with seeded(0, "round", 1):
        assert _draw() == first


@pytest.mark.parametrize("key", [(0, "round", 2), (1, "round", 1), (0, "evaluate", 1)])
def test_another_key_gives_other_numbers(key):
    with seeded(0, "round", 1):
        first = _draw()
    with seeded(*key):
        assert all(one != other for one, other in zip(_draw(), first, strict=True))


def test_the_caller_goes_on_as_if_nothing_was_drawn():
    def start() -> None:
        random.seed(5)
        np.random.seed(5)
        torch.manual_seed(5)

    start()
    expected = _draw()
    start()
    with pytest.raises(ZeroDivisionError), seeded(0):
        _ = _draw()[0] / 0
    assert _draw() == expected


class Noisy(Dataset):
    """Numbers with noise from all three sources of random numbers."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index, torch.rand(()).item(), random.random(), np.random.rand()])


LOADERS = {
    "no workers": lambda: DataLoader(Noisy(), 3, shuffle=True),
    "two workers": lambda: DataLoader(Noisy(), 3, shuffle=True, num_workers=2),
    "generator": lambda: DataLoader(
        Noisy(), 3, shuffle=True, generator=torch.Generator().manual_seed(7)
    ),
}


def all_of(loader: DataLoader, seed: int) -> torch.Tensor:
    return torch.cat(list(drawn(loader, seed)))


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS.keys())
def test_the_seed_decides_all(make):
    loader = make()
    first, other = all_of(loader, 1), all_of(loader, 2)
    for draw in (torch.seed, random.random, np.random.rand):
        draw()
    assert torch.equal(all_of(loader, 1), first)
    assert torch.equal(all_of(make(), 1), first)
    assert not torch.equal(other, first)
    assert sorted(first[:, 0].tolist()) == list(range(12))


def test_the_program_and_the_batches_do_not_disturb_each_other():
    loader = LOADERS["no workers"]()
    expected = all_of(loader, 1)
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    alone = [(torch.rand(()).item(), random.random(), np.random.rand()) for _ in range(4)]
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    found, between = [], []
    for batch in drawn(loader, 1):
        found.append(batch)
        between.append((torch.rand(()).item(), random.random(), np.random.rand()))
    assert torch.equal(torch.cat(found), expected)
    assert between == alone


def test_any_iterable_will_do():
    assert list(drawn([1, 2, 3], 0)) == [1, 2, 3]
    assert list(drawn([], 0)) == []


def test_mixed_seeds_differ():
    seeds = {
        mixed_seed(seed, index, epoch)
        for seed in range(3)
        for index in range(3)
        for epoch in range(3)
    }
    assert len(seeds) == 27
    assert all(0 <= seed < 2**32 for seed in seeds)
