import logging

import pytest
import torch
from torch import Tensor, nn

from virtualpool import VirtualPoolError
from virtualpool.search.agreement import output_agreement
from virtualpool.search.answers import answer_agreement


class Gives(nn.Module):
    """Gives what a function makes of its images."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


def logits(images: Tensor) -> Tensor:
    """Class 1 of dark images."""
    dark = 0.5 - images.mean((1, 2, 3))
    return torch.stack([-dark, dark], 1)


def maps(images: Tensor) -> Tensor:
    """Class 1 where an image is dark."""
    dark = 0.5 - images.mean(1)
    return torch.stack([-dark, dark], 1)


def boxes(images: list[Tensor], score: float = 0.9) -> list[dict[str, Tensor]]:
    """A box at each dark image, and one that is not sure."""
    found = []
    for image in images:
        scores = torch.tensor([score, 0.3] if image.mean() < 0.5 else [0.2])
        square = torch.tensor([[0.0, 0, 9, 9]]).expand(len(scores), 4)
        found.append({"boxes": square, "labels": torch.ones(len(scores)).long(), "scores": scores})
    return found


SHADES = torch.tensor([0.1, 0.3, 0.6, 0.8]).view(4, 1, 1, 1).expand(4, 3, 4, 4)


@pytest.mark.parametrize("given", [logits, lambda x: {"logits": logits(x), "more": x}])
def test_a_classifier_agrees_where_the_first_class_is_the_same(given):
    evaluate = answer_agreement(Gives(given), [SHADES[:3], (SHADES[3:], torch.tensor([7]))])
    score = evaluate(Gives(lambda x: logits(x - 0.25)))
    assert score.per_sample is not None
    assert score.per_sample.tolist() == [1, 1, 0, 1]
    assert (float(score), score.unit and score.unit.name) == (0.75, "agreement")


def test_masks_agree_by_their_mean_iou_at_the_size_of_the_originals():
    image = torch.zeros(1, 3, 4, 8)
    image[..., 4:] = 1
    evaluate = answer_agreement(Gives(lambda x: {"out": maps(x)}), [image])
    assert evaluate(Gives(maps)) == 1
    assert evaluate(Gives(lambda x: maps(x)[..., ::2, ::2])) == 1
    shifted = evaluate(Gives(lambda x: maps(x.roll(2, -1))))
    assert float(shifted) == pytest.approx(1 / 3)  # of both classes half of the pixels


def test_detectors_agree_by_the_f1_of_sure_boxes():
    images = [*SHADES]
    evaluate = answer_agreement(Gives(boxes), [images[:2], (images[2:], [{}, {}])])
    assert evaluate(Gives(boxes)) == 1
    fewer = evaluate(Gives(lambda x: boxes([each + 0.25 for each in x])))
    assert fewer.per_sample is not None
    assert fewer.per_sample.tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("given", [lambda x: x.mean((1, 2, 3)), lambda x: (x, logits(x))])
def test_other_outputs_are_compared_as_numbers(given):
    evaluate = answer_agreement(Gives(given), [SHADES])
    other = Gives(lambda x: given(0.9 * x))
    assert evaluate(other) == output_agreement(Gives(given), [SHADES])(other) < 1


def test_a_detector_that_finds_nothing_is_compared_by_its_outputs(caplog):
    unsure = Gives(lambda images: boxes(images, 0.4))
    with caplog.at_level(logging.WARNING), pytest.raises(VirtualPoolError, match="can be compared"):
        answer_agreement(unsure, [[*SHADES]])
    assert "The original finds no box with a score of 0.5" in caplog.text


def test_one_class_for_all_images_is_told(caplog):
    images = SHADES.repeat(3, 1, 1, 1)
    with caplog.at_level(logging.WARNING):
        answer_agreement(Gives(logits), [images])
        assert not caplog.messages
        answer_agreement(Gives(lambda x: logits(0 * x)), [images[:5], images[5:]])
    assert "gives one class for all 12 images" in caplog.text


def test_what_cannot_be_compared_is_refused():
    evaluate = answer_agreement(Gives(logits), [SHADES])
    with pytest.raises(VirtualPoolError, match="another kind of outputs than the original"):
        evaluate(Gives(lambda x: x.mean()))
    with pytest.raises(VirtualPoolError, match="an iterator can do so once"):
        answer_agreement(Gives(logits), iter([SHADES]))
    with pytest.raises(VirtualPoolError, match="no batches"):
        answer_agreement(Gives(logits), [])
