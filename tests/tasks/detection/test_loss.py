import pytest
import torch
from tests.tasks.detection.tiny import batches, tiny_detector
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.tasks.detection import detector_loss


def test_it_is_the_sum_of_the_detectors_losses():
    model, batch = tiny_detector().train(), batches()[0]
    torch.manual_seed(1)
    losses = model(*batch)
    torch.manual_seed(1)
    torch.testing.assert_close(detector_loss(model, batch), sum(losses.values()))


def test_it_has_gradients_in_all_layers():
    model = tiny_detector().train()
    detector_loss(model, batches()[0]).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("losses", "kind"), [(torch.zeros(1), "Tensor"), ({"loss": 1.0}, "dict"), (None, "NoneType")]
)
def test_a_model_without_losses_is_refused(losses, kind):
    class Model(nn.Module):
        def forward(self, images, targets):
            return losses

    with pytest.raises(VirtualPoolError, match=f"Model gives a {kind} in training; a dict of"):
        detector_loss(Model(), batches()[0])


def test_a_label_beyond_the_classes_is_refused():
    images, targets = batches()[0]
    targets = [target | {"labels": target["labels"] + 1} for target in targets]
    with pytest.raises(VirtualPoolError, match="label 2, and FasterRCNN has 2 classes"):
        detector_loss(tiny_detector().train(), (images, targets))


@pytest.mark.parametrize(
    ("boxes", "labels", "message"),
    [
        (
            (0,),
            (0,),
            r"Target 1 of a batch has boxes of shape \(0,\) and labels of shape \(0,\); \(",
        ),
        ((1, 5), (1,), r"boxes of shape \(1, 5\)"),
        ((2, 4), (1,), r"boxes of shape \(2, 4\) and labels of shape \(1,\)"),
        ((1, 4), (1, 1), r"labels of shape \(1, 1\)"),
    ],
)
def test_targets_of_other_shapes_are_refused(boxes, labels, message):
    images, targets = batches()[0]
    other = {"boxes": torch.ones(boxes), "labels": torch.ones(labels, dtype=torch.int64)}
    with pytest.raises(VirtualPoolError, match=message):
        detector_loss(tiny_detector().train(), (images[:2], [targets[0], other]))


def test_images_without_boxes():
    images, targets = batches()[0]
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    assert detector_loss(tiny_detector().train(), (images[:2], [targets[0], none])).isfinite()
