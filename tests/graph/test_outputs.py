"""Networks that give an object with `logits`, as those of Hugging Face do, are taken everywhere."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import virtualpool as vp
from virtualpool.graph.outputs import answer_in
from virtualpool.search import Round, by_distillation
from virtualpool.tasks import classification, segmentation

IMAGES, LABELS = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])


class Output(OrderedDict[str, Any]):
    """A dict whose values are attributes, too, as transformers' outputs are."""

    @property
    def logits(self) -> Any:
        return self["logits"]


@dataclass
class Plain:
    logits: Any


class Wrapped(nn.Module):
    def __init__(self, classifier: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1)
        )
        self.classifier = classifier

    def forward(self, images: Tensor) -> Output:
        maps = self.layers(images)
        return Output(hidden=maps, logits=maps.mean((2, 3)) if self.classifier else maps)


@pytest.mark.parametrize("outputs", [Output(hidden=1, logits=2), {"out": 2}, Plain(2), 2])
def test_the_answer_is_found(outputs: object) -> None:
    assert answer_in(outputs) == 2


def test_a_classifier_is_judged() -> None:
    model = Wrapped().eval()
    score = classification.evaluator([(IMAGES, LABELS)])(model)
    assert score == (model(IMAGES).logits.argmax(1) == LABELS).float().mean()


def test_a_segmentation_network_is_judged() -> None:
    model = Wrapped(classifier=False).eval()
    found = model(IMAGES).logits.argmax(1)
    judge = segmentation.evaluator([(IMAGES, found)], classes=["a", "b", "c"])
    assert judge(model) == 1


def test_it_is_pooled_fused_and_reconstructed() -> None:
    model = Wrapped().eval()
    pooled = vp.apply(model, IMAGES[:1])
    fast = vp.fuse(vp.reconstruct(pooled, model, [IMAGES], steps=2), IMAGES[:1])
    assert fast(IMAGES).logits.shape == (4, 3)


def test_it_is_distilled(tmp_path: Path) -> None:
    model = Wrapped().eval()
    pooled = vp.apply(model, IMAGES[:1])
    before = pooled.get_parameter("layers.0.weight").clone()
    judge = classification.evaluator([(IMAGES, LABELS)])
    by_distillation(model, [(IMAGES, LABELS)], epochs=1)(
        pooled, Round(1, (), vp.plan_of(pooled), tmp_path, None, None, judge)
    )
    assert not torch.equal(pooled.get_parameter("layers.0.weight"), before)


def test_a_cascade_gives_the_logits() -> None:
    model = Wrapped().eval()
    images = torch.rand(64, 3, 8, 8)
    fast = vp.apply(model, images[:1])
    cascade = vp.Cascade.calibrated(fast, model, [images], max_drop=0.5)
    assert cascade(images).shape == (64, 3)
