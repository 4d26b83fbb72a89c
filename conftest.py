"""What every test and every example in a docstring starts from."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch

from virtualpool.bound.rule import _GAINS, _JOINS
from virtualpool.fuse.choice import ways
from virtualpool.fuse.questions.rule import _RULES
from virtualpool.graph import random_numbers
from virtualpool.measure import timing


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    # On maps this small, threads wait for each other more than they work.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # For the processes that tests start, too.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIRTUALPOOL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def same_ways() -> Iterator[None]:
    # Which way is the fastest is another question on every machine. The last is the least common.
    def last_is_fastest(_: str, runs: Iterable[str], __: Any) -> dict[str, float]:
        return {name: 1 / (1 + place) for place, name in enumerate(runs)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ways, "costs", last_is_fastest)
        yield


@pytest.fixture(scope="session", autouse=True)
def short_timings() -> Iterator[None]:
    # How fast something is does not matter in tests, so a sample is a single call.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "_BLOCK_SECONDS", 0.0)
        yield


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    random_numbers.seed(0)


@pytest.fixture(autouse=True)
def rules_of_the_library() -> Iterator[None]:
    # A rule is registered for the whole process: one from a test must not serve the next test.
    registries: list[dict[Any, Any]] = [_RULES, _GAINS, _JOINS]
    before = [dict(registry) for registry in registries]
    yield
    for registry, rules in zip(registries, before, strict=True):
        registry.clear()
        registry.update(rules)
