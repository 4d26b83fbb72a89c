"""RoIAlign of reduced maps: exact for every box, and of the reduced map where that is enough."""

import pytest
import torch
from torchvision import ops

from virtualpool.fuse.kernels import regions
from virtualpool.operator.pool import virtual_pool

SIZES = [(8, 10), (9, 11), (8, 11), (2, 2), (1, 3)]
INSIDE = {
    "the whole map": (0, 0, 1, 1),
    "its upper left": (0, 0, 0.5, 0.4),
    "its lower right": (0.45, 0.5, 1, 1),
    "the middle": (0.2, 0.3, 0.7, 0.9),
}


@pytest.fixture
def interpolations(monkeypatch):
    """How often a map was interpolated."""
    counted = []
    monkeypatch.setattr(
        regions, "virtual_pool", lambda *given: counted.append(1) or virtual_pool(*given)
    )
    return counted


def reduced_of(size):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, (size[0] + 1) // 2, (size[1] + 1) // 2)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def assert_exact(size, boxes, scale, ratio, aligned, output_size=(3, 2)):
    reduced = reduced_of(size)
    options = (output_size, scale, ratio, aligned)
    found = regions.roi_align(reduced, size, boxes, *options)
    expected = ops.roi_align(virtual_pool(reduced, size), boxes, *options)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def box(size, part, scale):
    height, width = size
    sides = torch.tensor([width, height, width, height], dtype=torch.float64)
    return (torch.tensor(part, dtype=torch.float64) * sides / scale)[None]


@pytest.mark.parametrize("part", INSIDE.values(), ids=INSIDE)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("aligned", [True, False])
def test_boxes_in_the_map(interpolations, size, part, aligned):
    for scale, ratio in ((1.0, 2), (1 / 16, 1), (0.25, 3)):
        boxes = box(size, part, scale)
        assert_exact(size, [boxes, boxes[:0]], scale, ratio, aligned)
        narrow = bool((boxes[:, 2:] - boxes[:, :2] < 2 / scale).any())
        assert bool(interpolations) == (narrow and not aligned)
        interpolations.clear()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(
    "part", [(-0.8, 0.1, 0.9, 0.9), (0.1, 0.1, 1.9, 0.9), (0.1, -3, 0.9, 4), (2, 2, 3, 3)]
)
def test_boxes_that_reach_beyond_the_map_are_read_in_full(interpolations, size, part, aligned):
    both = torch.cat([box(size, part, 0.5), box(size, (0, 0, 1, 1), 0.5)])
    assert_exact(size, [both, both], 0.5, 2, aligned)
    reaches = part[0] * size[1] < -1 or part[1] * size[0] < -1
    reaches |= part[2] * size[1] > size[1] + aligned / 2 or part[3] * size[0] > size[0] + 0.5
    assert len(interpolations) == 1 or not reaches


def test_random_boxes_of_several_images():
    generator = torch.Generator().manual_seed(0)
    for size in SIZES[:3]:
        corners = 30 * torch.rand(50, 4, generator=generator, dtype=torch.float64) - 5
        boxes = torch.cat([corners[:, :2], corners[:, :2] + corners[:, 2:].abs()], 1)
        image = torch.randint(0, 2, (50, 1), generator=generator).double()
        for aligned in (True, False):
            assert_exact(size, torch.cat([image, boxes], 1), 0.5, 2, aligned)


def test_no_boxes():
    assert_exact((8, 8), torch.zeros(0, 5, dtype=torch.float64), 1.0, 2, True)
