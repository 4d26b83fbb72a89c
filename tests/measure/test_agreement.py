import pytest
import torch
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.measure.agreement import agreement


def test_agreement_counts_equal_decisions_and_averages_cosines():
    original, other = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    original.weight.data = torch.eye(2)
    other.weight.data = torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    found = agreement(other, original, [torch.eye(2)[:1], torch.eye(2)[1:]])
    assert found.samples == 2
    assert found.top1 == 0.5  # the first image's largest output is another one
    assert found.cosine == pytest.approx((1 / 5**0.5 + 1) / 2)


def test_agreement_of_maps_has_no_top1():
    network = nn.Conv2d(3, 4, 3)
    found = agreement(network, network, [(torch.rand(2, 3, 8, 8), torch.zeros(2))])
    assert (found.samples, found.top1, found.cosine) == (2, None, pytest.approx(1))


class Boxes(nn.Module):
    """As many boxes an image as a detector finds."""

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        return [{"boxes": torch.rand(5, 4), "scores": torch.rand(5)} for _ in images]


@pytest.mark.parametrize("count", [1, 2])
def test_agreement_refuses_what_is_no_output_an_image(count):
    with pytest.raises(VirtualPoolError, match=r"can(not)? be compared"):
        agreement(Boxes(), Boxes(), [torch.rand(count, 3, 8, 8)])


def test_agreement_needs_batches():
    with pytest.raises(VirtualPoolError, match="no batches"):
        agreement(nn.Linear(2, 2), nn.Linear(2, 2), [])
