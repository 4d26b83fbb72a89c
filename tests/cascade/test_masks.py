"""A cascade of segmentation networks, by image."""

import pytest
import torch
from torch import Tensor, nn

from virtualpool import Cascade, VirtualPoolError
from virtualpool.cascade.masks import Masks, certainty, mean_iou


def logits_of(mask: Tensor, classes: int = 3, size: float = 9.0) -> Tensor:
    return size * nn.functional.one_hot(mask, classes).permute(0, 3, 1, 2).double()


@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1),
        ([0, 0, 1, 2], [0, 0, 1, 1], 3 / 4),  # a class that is not in the image does not count
        ([0, 0, 0, 0], [0, 0, 1, 1], 1 / 4),
        ([1, 1, 1, 1], [0, 0, 255, 7], 0),  # 255 and 7 are no class
        ([0, 1, 0, 0], [1, 1, 255, 255], 1 / 2),
        ([0, 1, 2, 0], [255, 255, 255, 255], 1),
    ],
)
def test_the_mean_iou_of_an_image(found, true, expected):
    one, other = (torch.tensor(each).view(1, 2, 2) for each in (found, true))
    assert mean_iou(one, other, 3, 255).tolist() == pytest.approx([expected])


def test_images_are_judged_with_and_without_true_masks():
    true = torch.randint(0, 3, (4, 6, 8), generator=torch.Generator().manual_seed(0))
    slow, fast = true.clone(), true.clone()
    slow[0] = (slow[0] + 1) % 3
    fast[1, :3] = (fast[1, :3] + 1) % 3
    half = logits_of(fast)[:, :, ::2, ::2]  # a smaller map is enlarged
    judged = Masks.of(logits_of(fast), logits_of(slow), true).judged(1.0)
    assert (judged.lost > 0).tolist() == [False, True, False, False]
    assert judged.won.tolist() == [1, 0, 0, 0]
    alike = Masks.of(logits_of(fast), logits_of(slow), None).judged(1.0)
    assert (alike.lost > 0).tolist() == [True, True, False, False]
    assert not alike.won.any()
    assert len(Masks.joined([Masks.of(half, logits_of(slow), true)] * 2)) == 8


def test_a_network_is_as_sure_of_an_image_as_of_its_pixels():
    mask = torch.zeros(2, 4, 4, dtype=torch.int64)
    logits = logits_of(mask, 2)
    logits[1, :, :2] = 0
    assert certainty(logits).tolist() == pytest.approx([0.9998, 0.4999], abs=1e-3)
    assert certainty(logits * torch.nan).isnan().all()


class Finds(nn.Module):
    """Class 1 where it is bright; where all of it is dim, a fast network sees nothing."""

    def __init__(self, size: float = 9.0, wrap: bool = False, dim: float = 0.0) -> None:
        super().__init__()
        self.size, self.wrap, self.dim = size, wrap, dim

    def forward(self, images: Tensor):
        bright = images.mean(1, keepdim=True)
        is_dim = bright.amax((2, 3), keepdim=True) < self.dim
        bright = torch.where(is_dim, -0.01, bright)
        logits = torch.cat([-bright, bright], 1) * self.size
        return {"out": logits, "aux": logits} if self.wrap else logits


def images(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    found = torch.rand(count, 3, 4, 4, generator=generator) - 0.5
    found[::10] *= 0.01
    return found


@pytest.mark.parametrize("wrap", [False, True], ids=["maps", "dicts"])
@pytest.mark.parametrize("labelled", [False, True])
def test_the_original_answers_the_images_that_the_fast_network_is_not_sure_of(wrap, labelled):
    fast, slow, given = Finds(9, wrap, dim=0.1), Finds(90, wrap), images(400)
    masks = (given.mean(1) > 0).long()
    batches = [(given[:200], masks[:200]), (given[200:], masks[200:])] if labelled else [given]
    cascade = Cascade.calibrated(fast, slow, batches, max_drop=0.03)
    rule = cascade.calibration
    assert (rule.score, rule.labelled) == ("IoU", labelled)
    assert 0.8 < rule.outcome.answered < 1
    assert "lower mean IoU of an image's classes" in str(cascade)
    found, plain, theirs = cascade(given), fast(given), slow(given)
    if wrap:
        plain, theirs = plain["out"], theirs["out"]
    sure = cascade.is_sure(plain)
    assert not sure[::10].any()
    assert torch.equal(found, torch.where(sure[:, None, None, None], plain, theirs))


@pytest.mark.parametrize(
    ("fast", "batch", "said"),
    [
        (Finds(), (images(4), torch.zeros(4)), r"no 4 masks. Give an integer tensor \(N, H, W\)"),
        (Finds(), (images(4), torch.zeros(3, 4, 4).long()), "no 4 masks"),
        (nn.Identity(), images(4), r"gives \(4, 3, 4, 4\) where the original gives \(4, 2, 4, 4\)"),
        (nn.Flatten(), images(4), "is a classifier and the original a segmentation network"),
        (Finds(torch.nan), images(4), "nan or infinity for 4 of 4 images"),
        (Finds(), images(4), "4 calibration images cannot promise"),
    ],
)
def test_what_cannot_be_compared_is_refused(fast, batch, said):
    with pytest.raises(VirtualPoolError, match=said):
        Cascade.calibrated(fast, Finds(), [batch], max_drop=0.05)
