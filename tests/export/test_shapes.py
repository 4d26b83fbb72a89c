"""Open axes, and inputs of other shapes."""

import torch
from torch.export import Dim

from virtualpool.export.shapes import dynamic_shapes, more_inputs, to_trace

IMAGES = torch.zeros(1, 3, 8, 9)


def test_open_axes_of_nested_inputs() -> None:
    inputs = {"images": IMAGES, "more": [torch.zeros(1, 5), 3], "scale": torch.zeros(())}
    found = dynamic_shapes(inputs, "all")
    sides = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    assert found == {"images": sides, "more": [{0: Dim.DYNAMIC}, None], "scale": {}}
    assert dynamic_shapes(IMAGES, "none") is None
    assert dynamic_shapes(IMAGES, "batch", named=True) == ({0: "batch"},)


def test_one_image_is_traced_as_two_where_their_number_is_open() -> None:
    assert to_trace(IMAGES, "batch").shape == (2, 3, 8, 9)
    assert to_trace(IMAGES, "none") is IMAGES


def test_sizes_of_both_parities() -> None:
    found = {tuple(x.shape[-2:]) for x in more_inputs(IMAGES, "all")}
    parities = {(height % 2, width % 2) for height, width in found}
    assert len(found) == 10
    assert parities == {(0, 0), (0, 1), (1, 0), (1, 1)}
