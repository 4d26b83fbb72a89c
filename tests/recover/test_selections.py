import pytest
import torch
from torchvision.ops import nms

from virtualpool.recover.selections import Selections

BOXES = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3], [5, 5, 9, 9]])
SELECTED = {
    "best": lambda x: x[x[:, 0].topk(2).indices],
    "sorted": lambda x: x.sort(0).values + 1,
    "mask": lambda x: x[x[:, 0] > 0],
    "masked": lambda x: x.masked_select(x > 0),
    "where": lambda x: x.index_select(0, torch.where(x[:, 0] > 0)[0]),
    "boxes": lambda x: BOXES[nms(BOXES, x[:, 0], 0.5)],
    "put in": lambda x: torch.zeros(3, 3).add_(x.sort(0).values),
    "in place": lambda x: torch.zeros(3).index_add_(0, x[:, 0].topk(2).indices, torch.ones(2)),
}
KEPT = {
    "pooled": lambda x: torch.nn.functional.max_pool2d(x[None], 2, return_indices=True)[0],
    "largest": lambda x: x.max(0).values,
    "numbered": lambda x: x[[2, 0]],
    "cut": lambda x: x[1:, ::2],
    "where": lambda x: torch.where(x > 0, x, 0 * x),
}


@pytest.mark.parametrize("make", SELECTED.values(), ids=SELECTED)
def test_what_comes_of_a_selection_is_known(make):
    with Selections() as selections:
        out = make(torch.rand(3, 3) + 0.1)
        following = out.float() * 2
    assert selections.has_made(following)


@pytest.mark.parametrize("make", KEPT.values(), ids=KEPT)
def test_what_keeps_its_places_is_no_selection(make):
    with Selections() as selections:
        out = make(torch.rand(3, 3)) * 2
    assert not selections.has_made(out)


def test_the_last_layers_are_those_that_no_other_reads_but_for_what_is_selected():
    with Selections() as selections:
        x = torch.rand(4, 3)
        for name in ("stem", "body"):
            read, x = x, x * 2
            selections.called(name, read, x)
        scores, boxes = (x + 1).sum(1), x - 1
        selections.called("scores", x + 0, scores)
        selections.called("boxes", x, boxes)
        best = boxes[scores.topk(2).indices]
        selections.called("refined", best, best * 2)
    assert selections.are_last(["stem", "body", "scores", "boxes"]) == ["scores", "boxes"]
