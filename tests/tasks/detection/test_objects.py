from pathlib import Path

import pytest

from virtualpool.tasks.detection.objects import Marked, Split

PATH = Path("image.jpg")


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((1, 2, 30, 20), (1, 2, 30, 20)),
        ((0, 0, 40, 30), (0, 0, 40, 30)),
        ((-5, 2, 30, 99), (0, 2, 30, 30)),
        ((5, 2, 5, 20), None),
        ((30, 2, 1, 20), None),
        ((41, 2, 60, 20), None),
        ((-9, 2, 0, 20), None),
        ((float("nan"), 2, 5, 20), None),
    ],
)
def test_boxes_are_clipped_and_nothing_is_left_out(box, kept):
    split = Split()
    split.add(PATH, (40, 30), [Marked(box, "dog"), Marked((0, 0, 9, 9), "cat")], ["cat", "dog"])
    [image] = split.images
    found = [tuple(each) for each in image.boxes.tolist()]
    assert found == [each for each in (kept, (0, 0, 9, 9)) if each]
    assert image.labels.tolist() == [2, 1][-len(found) :]
    assert [path for path, _ in split.dropped] == [PATH] * (kept is None)
    assert split.clipped == [PATH] * (kept is not None and kept != box)


def test_an_image_may_have_no_objects():
    split = Split()
    split.add(PATH, (40, 30), [], ["cat"])
    [image] = split.images
    assert image.boxes.shape == (0, 4)
    assert [len(each) for each in (image.labels, image.ignored, image.areas)] == [0, 0, 0]


def test_an_area_is_that_of_the_box_where_none_is_given():
    split = Split()
    marked = [Marked((0, 0, 9, 9), "cat", area=7.5), Marked((0, 0, 9, 2), "cat", ignored=True)]
    split.add(PATH, (40, 30), marked, ["cat"])
    [image] = split.images
    assert image.areas.tolist() == [7.5, 18]
    assert image.ignored.tolist() == [False, True]


def test_what_is_left_out_is_told_in_one_line():
    split = Split()
    assert split.left_out() == ""
    for box in ((41, 2, 60, 20), (-5, 2, 30, 99), (0, 0, 9, 9)):
        split.add(PATH, (40, 30), [Marked(box, "cat")], ["cat"])
    split.skipped |= {Path(f"{name}.jpg"): "there is no such file" for name in "abc"}
    assert split.left_out(2) == (
        "3 images left out (a.jpg: there is no such file; b.jpg: there is no such file; ...), "
        "1 box left out (image.jpg: cat (41, 2, 60, 20) is empty or outside), "
        "1 box clipped to the image"
    )
