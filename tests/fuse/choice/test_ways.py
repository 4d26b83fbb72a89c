"""Trials of ways: all of them compute the same, on maps like the model's."""

import itertools

import pytest
import torch
from torch import nn

from virtualpool.fuse.choice.ways import Trial, Way

SAME = ((1, 1), (1, 1), (1, 1), 1)
HALVING = ((2, 2), (1, 1), (1, 1), 1)


def trial(geometry=SAME, size=(9, 8), layout=torch.contiguous_format, dtype=torch.float64) -> Trial:
    model = nn.Conv2d(3, 5, 3).to(dtype).to(memory_format=layout)
    return Trial.like(model, (2, 4, *size), (6, 4 // geometry[3], 3, 3), *geometry)


@pytest.mark.parametrize(
    ("geometry", "ways"),
    [(SAME, [Way.FULL, Way.TRANSPOSED]), (HALVING, [Way.FULL, Way.EXTENDED, Way.MENDED])],
)
@pytest.mark.parametrize("size", [(9, 8), (8, 9)])
def test_all_ways_give_the_same(geometry, ways, size):
    for groups in (1, 2):
        tried = trial((*geometry[:3], groups), size)
        results = [tried.runs()[way]() for way in ways]
        for one, other in itertools.pairwise(results):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_like_the_model(layout, dtype):
    tried = trial(layout=layout, dtype=dtype)
    assert tried.map.shape == (2, 4, 5, 4)
    for tensor in (tried.map, tried.weight):
        assert tensor.is_contiguous(memory_format=layout)
        assert tensor.dtype == dtype
    assert ("channels last" in str(tried)) == (layout is torch.channels_last)


def test_its_words_tell_trials_apart():
    trials = [trial(), trial(HALVING), trial(size=(8, 9)), trial(dtype=torch.float32)]
    assert len({str(each) for each in trials}) == len(trials)
    assert str(trial()) == str(trial())
