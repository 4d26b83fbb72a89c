import pytest

from virtualpool.search.frontier.lead import lead

LINES = {
    "one line ends where the other goes on": (
        [(1.0, 0.8), (2.0, 0.6)],
        [(1.5, 0.5), (3.0, 0.2)],
        [(1.5, 0.2), (2.0, 0.2)],
    ),
    "a bend of either": (
        [(1.0, 0.8), (2.0, 0.8), (3.0, 0.0)],
        [(1.0, 0.6), (2.5, 0.6), (3.0, 0.6)],
        [(1.0, 0.2), (2.0, 0.2), (2.5, -0.2), (3.0, -0.6)],
    ),
    "a point on a line": ([(2.0, 0.7)], [(1.0, 0.8), (3.0, 0.4)], [(2.0, 0.1)]),
    "they touch": ([(1.0, 0.8), (2.0, 0.7)], [(2.0, 0.6), (3.0, 0.5)], [(2.0, 0.1)]),
    "one is faster": ([(1.0, 0.8), (1.9, 0.7)], [(2.0, 0.6), (3.0, 0.5)], []),
    "one is slower": ([(4.0, 0.8)], [(2.0, 0.6), (3.0, 0.5)], []),
    "two models alike": ([(2.0, 0.7), (2.0, 0.7)], [(1.0, 0.8), (3.0, 0.6)], [(2.0, 0.0)]),
    "nothing": ([], [(2.0, 0.6)], []),
    "nothing to compare with": ([(2.0, 0.6)], [], []),
}


@pytest.mark.parametrize("case", LINES)
def test_the_lead_at_equal_speed(case):
    one, other, expected = LINES[case]
    found = lead(one, other)
    assert [speed for speed, _ in found] == [speed for speed, _ in expected]
    assert [ahead for _, ahead in found] == pytest.approx([ahead for _, ahead in expected])
    assert [-behind for _, behind in lead(other, one)] == pytest.approx([it for _, it in found])
