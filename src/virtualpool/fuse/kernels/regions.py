"""RoIAlign on reduced maps: the boxes of a detector, read where nothing was interpolated.

Half-way between two positions an interpolated map is the mean of both, and so it is a quarter of
the way between two cells of the reduced map. So a map is read at half the coordinates.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from virtualpool.operator.exporting import is_captured
from virtualpool.operator.pool import Axes, virtual_pool


def roi_align(
    reduced: Tensor,
    size: Axes,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | Axes,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """RoIAlign of an interpolated map; see `torchvision.ops.roi_align`.

    The reduced map is read if that is exact for all boxes: none reaches beyond the map, by more
    than a position before it; and where boxes are not `aligned`, whose sides are then made one
    position at least, none is narrower than the two positions that a cell stands for. Else, and
    where code is compiled, exported or captured and cannot depend on boxes, it is interpolated.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        boxes: (boxes, 5), each after the number of its image, or of each image (boxes, 4).
        output_size: of each box.
        spatial_scale: from the coordinates of boxes to positions of the full map.
        sampling_ratio: samples along each side of a bin; above zero.
        aligned: whether coordinates count from the edges of positions.

    >>> boxes = [torch.tensor([[1.0, 1.0, 5.0, 5.0]])]
    >>> roi_align(torch.ones(1, 8, 4, 4), (8, 8), boxes, 2, 1.0, 2, True).shape
    torch.Size([1, 8, 2, 2])
    """
    # Importing torchvision is not cheap.
    from torchvision import ops

    regions = boxes if isinstance(boxes, Tensor) else _with_images(boxes)
    shift = 0.5 if aligned else 0.0
    if _is_exact(regions[:, 1:] * spatial_scale - shift, size, aligned):
        moved = torch.cat([regions[:, :1], regions[:, 1:] + shift / spatial_scale], 1)
        map, regions, spatial_scale = reduced, moved, spatial_scale / 2
    else:
        map = virtual_pool(reduced, size)
    return ops.roi_align(map, regions, output_size, spatial_scale, sampling_ratio, aligned)


def _is_exact(corners: Tensor, size: Axes, aligned: bool) -> bool:
    in_cuda_graph = corners.is_cuda and torch.cuda.is_current_stream_capturing()
    if is_captured() or in_cuda_graph:
        return False
    last = corners.new_tensor([size[1], size[0]])
    is_inside = (corners[:, :2] >= -1).all() & (corners[:, 2:] <= last).all()
    is_wide = (corners[:, 2:] - corners[:, :2] >= 2).all()
    return bool(is_inside & (is_wide | aligned))


def _with_images(boxes: Sequence[Tensor]) -> Tensor:
    """(boxes, 5), each after the number of its image."""
    numbered = [
        torch.cat([torch.full_like(each[:, :1], image), each], 1)
        for image, each in enumerate(boxes)
    ]
    return torch.cat(numbered)
