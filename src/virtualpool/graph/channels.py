"""A module's effect on each channel, as runs of it on small maps show."""

import torch
from torch import nn


def numbers_of_channels(
    module: nn.Module, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The factor and the summand of a module in eval mode for each channel, as runs show.

    Args:
        module: takes maps (N, C, H, W).
        like: a tensor with a number for each of the C channels, in the dtype of the maps.

    Returns:
        Two tensors (C,); None for a module that does something else.

    >>> numbers_of_channels(nn.BatchNorm2d(2, eps=3).eval(), torch.ones(2))
    (tensor([0.5000, 0.5000]), tensor([0., 0.]))
    """
    ran = ran_on_channels(module, like)
    return ran[:2] if ran is not None and ran[2] else None


def ran_on_channels(
    module: nn.Module, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, bool] | None:
    """The effect on each channel of a module that treats all positions alike.

    Returns:
        The factor and the summand of each channel, each (C,), and whether they are all that it
        does; None if positions or channels are not treated each by itself.
    """
    generator = torch.Generator().manual_seed(0)
    x = 10 * torch.randn(2, like.numel(), 5, 6, generator=generator).to(like)
    part = x[:1, :, 1:3, 2:5].clone()
    part[:, 1:] = 0  # nor may a channel have to do with another
    try:
        with torch.no_grad():
            # Not called as a module: hooks are not meant for it.
            run = module.forward
            shift, given, of_part = run(torch.zeros_like(x)), run(x.clone()), run(part.clone())
            scale = run(torch.ones_like(x)) - shift
        if given.shape != x.shape or not is_close(of_part[:, 0], given[:1, 0, 1:3, 2:5]):
            return None
        is_alike = all(torch.equal(it, it[:1, :, :1, :1].expand_as(x)) for it in (scale, shift))
        if not is_alike:
            return None
        is_all = is_close(given, x * scale + shift)
        return scale[0, :, 0, 0], shift[0, :, 0, 0], is_all
    except Exception:  # it does not take such a map, or gives none
        return None


def is_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether the numbers of one are about the numbers of the other."""
    return torch.allclose(one, other, 1e-2, 1e-2)
