"""Mixed precision: which operations may run in 16 bits."""

from typing import Literal, get_args

import torch

from virtualpool.errors import VirtualPoolError

Precision = Literal["no", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The autocast context of a precision; of "no", one that switches autocast off.

    Raises:
        VirtualPoolError: there is no such precision, or the device has none.

    >>> with autocast(torch.device("cpu"), "bf16"):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    if precision not in get_args(Precision):
        raise VirtualPoolError(
            f"There is no mixed precision {precision!r}; there are: "
            f"{', '.join(get_args(Precision))}."
        )
    if precision == "fp16" and device.type == "cpu":
        raise VirtualPoolError('Mixed precision "fp16" needs a GPU; on a CPU use "bf16".')
    if precision == "no":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype=_DTYPES[precision])
