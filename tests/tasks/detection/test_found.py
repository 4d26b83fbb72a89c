import pytest
import torch
from tests.tasks.detection.test_average_precision import FAR, NEAR_A, A, B, found
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.tasks.detection.found import found_in, shared

CASES = {
    "the same": ([(1, A), (1, B)], [(1, A), (1, B)], [True, True], [True, True]),
    "in another order": ([(1, A), (1, B)], [(1, B), (1, A)], [True, True], [True, True]),
    "near": ([(1, A)], [(1, NEAR_A)], [True], [True]),
    "not near enough": ([(1, A)], [(1, (0, 0, 10, 4.9))], [False], [False]),
    "of another class": ([(1, A)], [(2, A)], [False], [False]),
    "only the nearest": ([(1, A)], [(1, NEAR_A), (1, A)], [True], [False, True]),
    "only the nearest, both ways": ([(1, NEAR_A), (1, A)], [(1, A)], [False, True], [True]),
    "found by one": ([(1, A), (1, FAR)], [(1, A)], [True, False], [True]),
    "twice the same box": ([(1, A)], [(1, A), (1, A)], [True], [True, False]),
    "nothing found by one": ([(1, A)], [], [False], []),
    "nothing found at all": ([], [], [], []),
}


@pytest.mark.parametrize(("one", "other", "mine", "its"), CASES.values(), ids=CASES)
def test_boxes_that_two_models_share(one, other, mine, its):
    first, second = (found(*((1.0, *each) for each in boxes)) for boxes in (one, other))
    assert [each.tolist() for each in shared(first, second)] == [mine, its]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Conv2d(3, 4, 3), "Conv2d cannot be called with a list of images"),
        (nn.Identity(), "Identity gives a list; a list with a dict of boxes, scores and labels"),
    ],
)
def test_what_is_no_detector_is_refused(model, said):
    with pytest.raises(VirtualPoolError, match=said):
        found_in([torch.zeros(3, 8, 8)], model)
