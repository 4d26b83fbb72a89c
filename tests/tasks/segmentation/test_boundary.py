"""The boundary F-score, against cases that are counted by hand."""

import math

import torch

from virtualpool.tasks.segmentation.boundary import boundary_counts, boundary_score


def half(edge: int, rows: int = 30, columns: int = 40) -> torch.Tensor:
    """Class 1 from a column on, class 0 before."""
    mask = torch.zeros(1, rows, columns, dtype=torch.int64)
    mask[..., edge:] = 1
    return mask


def test_a_straight_edge_that_is_off_by_more_than_the_tolerance():
    # The diagonal of 300 x 400 is 500: a tolerance of 3.75 pixels.
    true = half(200, 300, 400)
    for off, expected in ((0, 1.0), (3, 1.0), (4, 0.0)):
        counts = boundary_counts(half(200 + off, 300, 400), true, 2, 255)
        near = 300 * int(expected)
        assert counts.tolist() == [[[near, 300, near, 300]] * 2]
        assert boundary_score(counts.sum(0)) == expected


def test_a_found_speck_costs_precision_alone():
    true = half(20)
    found = true.clone()
    found[0, 5, 35] = 0  # the four pixels around it are an outline of class 1, it is one of class 0
    [[zero, one]] = boundary_counts(found, true, 2, 255).tolist()
    assert zero == [30, 31, 30, 30]
    assert one == [30, 34, 30, 30]
    first, second = 2 * (30 / 31) / (30 / 31 + 1), 2 * (30 / 34) / (30 / 34 + 1)
    assert math.isclose(boundary_score(torch.tensor([zero, one])), (first + second) / 2)


def test_where_ignored_pixels_begin_there_is_no_outline():
    true = half(20)
    true[..., 18:22] = 255
    counts = boundary_counts(half(20), true, 2, 255)
    assert counts.sum() == 0
    assert boundary_score(counts.sum(0)) == 0.0


def test_a_disc_reaches_as_far_as_the_tolerance_in_each_direction():
    # 0.75 % of the diagonal of 300 x 400 is 3.75; (2, 3) is 3.61 away, (3, 3) 4.24.
    true = torch.zeros(1, 300, 400, dtype=torch.int64)
    true[0, 100, 100] = 1
    for rows, columns, near in ((2, 3, 1), (-2, -3, 1), (3, 3, 0), (0, -3, 1), (4, 0, 0)):
        found = torch.zeros_like(true)
        found[0, 100 + rows, 100 + columns] = 1
        assert boundary_counts(found, true, 2, 255)[0, 1].tolist() == [near, 1, near, 1]
