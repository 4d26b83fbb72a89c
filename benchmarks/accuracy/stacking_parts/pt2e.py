"""Int8 for Inductor: PT2E quantisation of an exported model by torchao, calibrated with images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def quantised(model: nn.Module, batches: Sequence[Tensor]) -> nn.Module:
    """A module that Inductor compiles to int8 convolutions, for batches of this shape alone."""
    from torchao.quantization.pt2e.quantize_pt2e import (  # pyright: ignore[reportMissingImports]
        convert_pt2e,
        prepare_pt2e,
    )
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (  # pyright: ignore[reportMissingImports]
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    quantizer = X86InductorQuantizer()
    quantizer.set_global(get_default_x86_inductor_quantization_config())
    # Without strict it would find the convolutions of modules alone, which a fused model calls as
    # functions.
    exported = torch.export.export(model, (batches[0],), strict=True).module()
    prepared = prepare_pt2e(exported, quantizer)
    for batch in batches:
        prepared(batch)
    return convert_pt2e(prepared)
