import pytest

from virtualpool import Target, VirtualPoolError

NAN = float("nan")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"points": 0}, "points is 0; it must be a whole number of 1 or more"),
        ({"points": 2.5}, "points is 2.5"),
        ({"points": True}, "points is True"),
        ({"min_speedup": 0}, "min_speedup is 0; it must be a number above 0"),
        ({"min_speedup": NAN}, "min_speedup is nan"),
        ({"max_latency_ms": -1}, "max_latency_ms is -1"),
        ({"max_drop": float("inf")}, "max_drop is inf"),
        ({"max_drop": "1 %"}, "max_drop is '1 %'"),
        ({"min_speedup": 2, "max_latency_ms": 9}, "not min_speedup and max_latency_ms. Give one"),
    ],
)
def test_wrong_targets(given, said):
    with pytest.raises(VirtualPoolError, match=said):
        Target(**given)


MODEL = {"drop": 0.02, "speedup": 2.0, "latency_ms": 4.0}


@pytest.mark.parametrize(
    ("given", "words", "excess"),
    [
        ({}, "6 models", 0),
        ({"points": 1}, "1 model", 0),
        ({"min_speedup": 2.0}, "6 models with a speed-up of 2x or more", 0),
        ({"min_speedup": 4.0}, "6 models with a speed-up of 4x or more", 0.5),
        ({"max_latency_ms": 2.5}, "6 models with at most 2.5 ms", 0.6),
        ({"max_drop": 0.01}, "6 models with a drop of at most 0.01", 1),
        ({"max_drop": 0.0}, "6 models with a drop of at most 0", 20),
        ({"max_drop": 0.04}, "6 models with a drop of at most 0.04", -0.5),
    ],
)
def test_the_bound_in_words_and_in_numbers(given, words, excess):
    target = Target(**given)
    assert str(target) == words
    assert target.excess(**MODEL) == pytest.approx(excess)
