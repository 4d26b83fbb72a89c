import pytest
import torch
from tests.tasks.detection.tiny import batches, tiny_detector
from torch import nn

from virtualpool.tasks.detection.precision import full_precision_boxes


@pytest.mark.parametrize("kept", [True, False])
@torch.no_grad()
def test_boxes_are_float32_under_autocast(kept):
    model, (images, _) = tiny_detector(box_score_thresh=0.0).eval(), batches()[0]
    with torch.autocast("cpu", torch.bfloat16):
        if kept:
            with full_precision_boxes(model):
                found = model(images)
        else:
            found = model(images)
    dtype = torch.float32 if kept else torch.bfloat16
    assert {each["boxes"].dtype for each in found} == {dtype}
    assert all(len(each["boxes"]) for each in found)


def test_hooks_are_gone_afterwards():
    model = tiny_detector()
    with pytest.raises(RuntimeError, match="within"), full_precision_boxes(model):
        raise RuntimeError("within")
    assert not any(module._forward_hooks for module in model.modules())


def test_a_head_may_give_a_dict_and_other_dtypes_stay():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Identity()

        def forward(self, given):
            return self.head(given)

    model = Model()
    given = {"half": torch.zeros(1, dtype=torch.float16), "double": torch.zeros(1).double()}
    with full_precision_boxes(model):
        found = model(given)
    assert {name: value.dtype for name, value in found.items()} == {
        "half": torch.float32,
        "double": torch.float64,
    }
