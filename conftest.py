"""What every test and every example in a docstring starts from."""

from collections.abc import Iterator

import pytest
import torch

from virtualpool.fuse.rule import _RULES


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    # On maps this small, threads wait for each other more than they work.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def rules_of_the_library() -> Iterator[None]:
    # A rule is registered for the whole process: one from a test must not serve the next test.
    before = dict(_RULES)
    yield
    _RULES.clear()
    _RULES.update(before)
