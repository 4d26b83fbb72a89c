import pytest
import torch
from torch.nn.functional import cross_entropy

from virtualpool.cascade.confidence import fitted_temperature, margin


def test_the_margin_is_the_largest_share_minus_the_second():
    logits = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.8, 0.1]]).log()
    torch.testing.assert_close(margin(logits, 1.0), torch.tensor([0.2, 0.7]))
    torch.testing.assert_close(margin(3 * logits, 3.0), torch.tensor([0.2, 0.7]))


def test_no_margin_is_nothing_to_compare_with():
    assert not bool((margin(torch.tensor([[float("nan"), 1.0]]), 1.0) > -1).any())


@pytest.mark.parametrize("scale", [0.5, 1.0, 5.0])
def test_the_temperature_has_the_least_loss(scale):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(500, 4, generator=generator)
    classes = torch.distributions.Categorical(logits=logits).sample()
    given = scale * logits
    found = fitted_temperature(given, classes)
    losses = [cross_entropy(given / (found * by), classes) for by in (0.97, 1.0, 1.03)]
    assert losses[1] <= min(losses)


def test_images_without_doubt_end_at_the_lowest_temperature():
    logits = 3 * torch.eye(4)
    assert fitted_temperature(logits, torch.arange(4)) == pytest.approx(0.25)
    assert fitted_temperature(logits, (torch.arange(4) + 1) % 4) == pytest.approx(16)
