import pytest
from tests.tasks.detection.test_average_precision import FAR, NEAR_A, A, B, found

from virtualpool.measure.boxes import shared

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
