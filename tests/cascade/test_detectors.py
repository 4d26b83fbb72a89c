import pytest
import torch
from tests.tasks.detection.tiny import tiny_detector
from torch import Tensor, nn

import virtualpool as vp
from virtualpool import Cascade, VirtualPoolError
from virtualpool.cascade.calibrating import calibrated
from virtualpool.cascade.detectors import Detections, certainty, f1
from virtualpool.cascade.promise import allowed_loss, allowed_losses

BOX, FAR = [0.0, 0, 10, 10], [50.0, 50, 60, 60]


def found(*boxes: tuple[float, list[float]], label: int = 1) -> dict[str, Tensor]:
    return {
        "boxes": torch.tensor([box for _, box in boxes]).reshape(-1, 4),
        "labels": torch.full((len(boxes),), label),
        "scores": torch.tensor([score for score, _ in boxes]),
    }


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (found((1, BOX)), found((1, BOX), (1, FAR)), 2 / 3),
        (found((1, BOX), (1, FAR)), found((1, FAR), (1, BOX)), 1),
        (found((1, BOX)), found((1, BOX), label=2), 0),
        (found(), found((1, BOX)), 0),
        (found(), found(), 1),
    ],
)
def test_the_f1_of_boxes(one, other, expected):
    assert f1(one, other) == f1(other, one) == pytest.approx(expected)


def test_boxes_near_a_half_are_doubts():
    sure = certainty([found(), found((0.99, BOX)), found((0.5, BOX)), found(*[(0.5, BOX)] * 3)])
    assert sure.tolist() == pytest.approx([1, 1 / 1.01, 1 / 1.5, 1 / 2.5])


def test_images_are_judged_by_the_boxes_that_count():
    truth = [found((1, BOX), (1, FAR)) | {"ignored": torch.tensor([False, True])}] * 3
    fast = [found((0.9, BOX)), found((0.4, BOX)), found((0.9, BOX), (0.9, FAR))]
    slow = [found((0.9, BOX), (0.9, FAR)), found((0.9, BOX)), found((0.9, BOX))]
    judged = Detections(fast, slow, truth).judged(1.0)
    assert judged.lost.tolist() == pytest.approx([0, 1, 1 / 3])
    assert judged.won.tolist() == pytest.approx([1 / 3, 0, 0])
    alike = Detections(fast, slow).judged(1.0)  # the original's boxes are the true ones
    assert alike.lost.tolist() == pytest.approx([1 / 3, 1, 1 / 3])
    assert not alike.won.any()


def test_the_threshold_is_as_low_as_the_sum_of_losses_allows():
    doubts = torch.linspace(0, 0.4, 300).tolist()
    fast = [found((0.9, BOX), (1 - doubt, FAR)) for doubt in doubts]
    slow = [found((0.9, BOX))] * 300
    calibration = calibrated(Detections(fast, slow), max_drop=0.1)
    allowed = allowed_loss(300, 0.1, 0.95)
    assert calibration.score == "F1"
    loss = 1 / 3  # of each image: one box of three is wrong
    lost = calibration.outcome.lost
    assert lost <= allowed < lost + loss + 1e-5
    assert calibration.outcome.answered == pytest.approx(lost / loss / 300)


@pytest.mark.parametrize(("images", "rate"), [(20, 0.2), (72, 0.05), (300, 0.02), (5, 0.1)])
def test_losses_between_allow_no_more_than_lost_images(images, rate):
    bound, exact = allowed_loss(images, rate, 0.95), allowed_losses(images, rate, 0.95)
    assert (bound == -1) == (exact == -1)
    assert bound <= exact + 1


def test_a_bound_of_a_mean_loss_is_kept():
    """Losses of 0 and 1, and a few between, with a mean of 0.1: few draws are below the bound."""
    generator = torch.Generator().manual_seed(0)
    chances = torch.tensor([0.89, 0.02, 0.09])
    chosen = torch.multinomial(chances, 80 * 2000, replacement=True, generator=generator)
    sums = torch.tensor([0, 0.5, 1])[chosen].reshape(2000, 80).sum(1)
    assert 0 < float((sums <= allowed_loss(80, 0.1, 0.95)).double().mean()) <= 0.05


class Marked(nn.Module):
    """Finds a box of the score that an image is filled with, and one of the label beside."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label, self.seen = label, []

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        self.seen.append(len(images))
        return [found((float(image.max()), BOX), label=self.label) for image in images]


def test_the_original_sees_the_unsure_images_alone():
    fast, slow = Marked(1), Marked(2)
    images = [torch.full((3, 4, 4 + place), value) for place, value in enumerate((0.9, 0.5, 0.1))]
    rule = calibrated(Detections([found((0.9, BOX))] * 9, [found((0.9, BOX))] * 9), max_drop=0.5)
    cascade = Cascade(fast, slow, rule)
    assert [int(each["labels"]) for each in cascade(images)] == [1, 1, 1]
    assert slow.seen == []
    doubtful = [found((0.6, FAR))] * 8
    rule = calibrated(Detections(doubtful, [found((0.9, BOX))] * 8), max_drop=0.5)
    assert [int(each["labels"]) for each in Cascade(fast, slow, rule)(images)] == [1, 2, 1]
    assert slow.seen == [1]


def test_torchvisions_detectors_from_batches_to_a_file(tmp_path):
    images = [torch.rand(3, 30 + place, 40) for place in range(3)]
    detector = tiny_detector().eval()
    fast = vp.fuse(vp.apply(detector, images[:1], border="padded"), images[:1])
    targets = [{"boxes": torch.tensor([BOX]), "labels": torch.tensor([1])}] * 3
    batches = [(images, targets)] * 3
    cascade = Cascade.calibrated(fast, detector, batches, max_drop=0.5)
    assert cascade.calibration.labelled
    assert "lower F1 of an image's boxes" in str(cascade)
    assert not Cascade.calibrated(
        fast, detector, [(images,)] * 3, max_drop=0.5
    ).calibration.labelled
    timed = cascade.timed(images, repeats=1, duration_s=0.01)
    assert [each.images for each in timed.times] == [1, 3]
    timed.save(tmp_path / "cascade")
    again = Cascade.load(tiny_detector(), tmp_path / "cascade")
    assert (again.calibration, str(again)) == (cascade.calibration, str(timed))
    with torch.no_grad():
        for one, other in zip(again(images), cascade(images), strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(VirtualPoolError, match="networks is not exported as one"):
        cascade.export(tmp_path / "exported", images)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (([torch.rand(3, 4, 4)], [{"boxes": torch.zeros(0, 4)}]), "no list of 1 dicts with boxes"),
        (([torch.rand(3, 4, 4)], torch.zeros(1)), "no list of 1 dicts with boxes"),
    ],
)
def test_wrong_targets_are_refused(batch, message):
    with pytest.raises(VirtualPoolError, match=message):
        Cascade.calibrated(Marked(1), Marked(1), [batch], max_drop=0.5)


def test_a_classifier_and_a_detector_are_refused():
    class Logits(nn.Module):
        def forward(self, images: list[Tensor]) -> Tensor:
            return torch.zeros(len(images), 2)

    with pytest.raises(VirtualPoolError, match="is a classifier and the original a detector"):
        Cascade.calibrated(Logits(), Marked(1), [([torch.rand(3, 4, 4)],)], max_drop=0.5)
