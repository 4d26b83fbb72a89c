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
