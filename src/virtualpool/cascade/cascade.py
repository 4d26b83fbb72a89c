"""Two models as one: the fast one answers where it is sure, the original the rest."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from virtualpool.cascade import masks, storing
from virtualpool.cascade.calibrating import Calibration, Score, calibrated
from virtualpool.cascade.collecting import are_findings, collected
from virtualpool.cascade.confidence import margin
from virtualpool.cascade.detectors import certainty
from virtualpool.cascade.times import Times
from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import batch_size
from virtualpool.graph.outputs import answer_in
from virtualpool.measure.latency import LatencyOptions, latency
from virtualpool.measure.prepared import Timed

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from virtualpool.export import ExportReport


class Cascade(nn.Module):
    """A fast model answers where it is sure, the original the rest.

    Called with images it gives logits (N, classes): the fast model's where its margin is above the
    threshold, and the original's for the other images, which alone it runs on. Of two detectors,
    called with a list of images, it gives each image's boxes so, and of two segmentation networks
    each image's map of logits. `Frontier.cascade` and
    `Cascade.calibrated` make one, and put both models in eval mode.

    Attributes:
        fast: the fast model.
        slow: the original.
        calibration: the temperature and the threshold, the promise, and the share of the
            calibration images that the fast model answers.
        times: the latencies of both models, an image a call and in batches, if measured.

    >>> import torch
    >>> slow = nn.Linear(3, 4)
    >>> cascade = Cascade.calibrated(slow, slow, [torch.rand(400, 3)])
    >>> print(cascade)
    Cascade: the fast model (Linear) answers 100.0 % of images, the original (Linear) the rest
      promised: at most 0.79 % of images lost, with confidence 0.95
      calibration: 380 images without labels; 0 lost, 0 won
    """

    def __init__(
        self,
        fast: nn.Module,
        slow: nn.Module,
        calibration: Calibration,
        times: Iterable[Times] = (),
    ) -> None:
        super().__init__()
        self.fast, self.slow = fast, slow
        self.calibration, self.times = calibration, tuple(times)
        self.eval()

    @classmethod
    def calibrated(
        cls,
        fast: nn.Module,
        slow: nn.Module,
        batches: Iterable[Any],
        *,
        max_drop: float = 0.0,
        confidence: float = 0.95,
    ) -> "Cascade":
        """A cascade of two classifiers, detectors or segmentation networks, within `max_drop`.

        An image is lost where the original has it right and the cascade wrong. At most `max_drop`
        of all images of the source are lost, with probability `confidence` over draws of the
        calibration images. With `max_drop` 0 none of these is lost, and 3 / N is promised for N of
        them at 0.95.

        Args:
            fast: such as a pooled network.
            slow: the original.
            batches: calibration images (N, C, H, W), or pairs of images and labels (N,), which
                neither model was trained or chosen with; of detectors, pairs of a list of images
                and a list of dicts with true `boxes` and `labels`; of segmentation networks, pairs
                of images and masks (N, H, W). Without labels, the original's answers are right.
            max_drop: how much lower the share of right answers may be than the original's, or of
                detectors the mean F1 of an image's boxes, of segmentation networks the mean IoU of
                an image's classes; 0 for no loss in the calibration.
            confidence: the probability of the promise.

        Raises:
            VirtualPoolError: there are too few images for the promise (the message says how many
                are needed), a number is out of range, or outputs are no finite logits.
        """
        outputs, _ = collected({"the fast model": fast}, slow, batches)
        found = calibrated(outputs["the fast model"], max_drop=max_drop, confidence=confidence)
        return cls(fast, slow, found)

    def forward(self, images: Any) -> Any:
        """The logits (N, classes, ...) of images (N, ...); or the boxes in a list of images."""
        answers = answer_in(self.fast(images))
        unsure = (~self.is_sure(answers)).nonzero()[:, 0]
        if not len(unsure):
            return answers
        if isinstance(answers, Tensor):
            answers = answers.clone()
            answers[unsure] = answer_in(self.slow(images[unsure]))
            return answers
        places = unsure.tolist()
        others = self.slow([images[place] for place in places])
        changed = dict(zip(places, others, strict=True))
        return [changed.get(place, found) for place, found in enumerate(answers)]

    def is_sure(self, answers: Any) -> Tensor:
        """Whether the fast model is sure, by its outputs: bools (N,), False where one is nan."""
        if are_findings(answers):
            its = certainty(answers)
        else:
            logits, temperature = answer_in(answers), self.calibration.temperature
            its = masks.certainty(logits) if logits.ndim == 4 else margin(logits, temperature)
        return its > self.calibration.threshold

    def timed(self, images: Any, **options: "Unpack[LatencyOptions]") -> "Cascade":
        """The same cascade with the latencies of its models measured, here.

        Both models are timed interleaved, with one image a call and with `batch` of them.

        Args:
            images: (N, C, H, W); their values do not matter.
            options: options of `virtualpool.measure.latency`; `batch` is N if it is not given.

        Returns:
            A new cascade, with `times` in milliseconds a call.

        Raises:
            VirtualPoolError: they cannot be timed.
        """
        batch = options.get("batch") or batch_size(images)
        models: dict[str, Timed] = {"fast": self.fast, "slow": self.slow}
        times: list[Times] = []
        for count in dict.fromkeys((1, batch)):
            given: LatencyOptions = {**options, "batch": count}
            found = latency(models, images[:count], **given)
            times.append(Times(found["fast"], found["slow"]))
        return Cascade(self.fast, self.slow, self.calibration, times)

    def save(self, folder: Path | str) -> None:
        """Writes both models and the calibration to a folder, whole or not at all.

        The folder has `fast.safetensors`, `slow.safetensors` and `cascade.json`; a cascade that was
        there is replaced.

        Raises:
            VirtualPoolError: other files are in the folder, nothing can be written there, or
                a model is none that `virtualpool.save` takes.
        """
        storing.save(self.fast, self.slow, self.calibration, self.times, Path(folder))

    @classmethod
    def load(cls, model: nn.Module, folder: Path | str) -> "Cascade":
        """The cascade that `save` wrote, bit-equal.

        Args:
            model: the user's own unmodified model; it is not changed.
            folder: a folder that `save` wrote.

        Raises:
            VirtualPoolError: a file is missing, broken, another one than was saved, or of another
                model.
        """
        return cls(*storing.load(model, Path(folder)))

    def export(
        self, folder: Path | str, example_inputs: Any, **options: Any
    ) -> "dict[str, ExportReport]":
        """Writes both models as ONNX files, for any number of images, and the rule as JSON.

        The folder has `fast.onnx`, `slow.onnx` and `rule.json` with `temperature` and `threshold`
        under `calibration`; docs/serving.md has the loop that runs them. A fast model with an
        image scale takes images that are resized already.

        Args:
            folder: is made if it is not there.
            example_inputs: images (N, C, H, W), as of `virtualpool.export`.
            options: options of `virtualpool.export`, such as `threads`.

        Returns:
            The reports of `virtualpool.export`, by "fast" and "slow".

        Raises:
            VirtualPoolError: a model cannot be exported, or the cascade is of no classifiers.
        """
        if self.calibration.score != "accuracy":
            raise VirtualPoolError(
                "A cascade of detectors or segmentation networks is not exported as one. Export "
                "each by virtualpool.export and take the rule from cascade.json of Cascade.save."
            )
        return storing.export(
            self.fast, self.slow, self.calibration, self.times, Path(folder), example_inputs,
            options,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The calibration and the latencies as a JSON-able value."""
        return {
            "calibration": asdict(self.calibration),
            "times": [times.to_json() for times in self.times],
        }

    def __repr__(self) -> str:
        it, of = self.calibration, self.calibration.outcome
        fast, slow = type(self.fast).__name__, type(self.slow).__name__
        kind = "with labels" if it.labelled else "without labels"
        what = _DROPS[it.score]
        decimals = 0 if it.score == "accuracy" else 2
        lines = [
            f"Cascade: the fast model ({fast}) answers {of.answered:.1%} of images, the original "
            f"({slow}) the rest",
            f"  promised: at most {it.promised:.2%} {what}, with confidence {it.confidence:g}",
            f"  calibration: {of.images} images {kind}; {of.lost:.{decimals}f} lost, "
            f"{of.won:.{decimals}f} won",
        ]
        lines += [f"  {_timed(times, of.answered)}" for times in self.times]
        return "\n".join(lines).replace("%", " %")


_DROPS: dict[Score, str] = {
    "accuracy": "of images lost",
    "F1": "lower F1 of an image's boxes",
    "IoU": "lower mean IoU of an image's classes",
}


def _timed(times: Times, answered: float) -> str:
    images = "1 image" if times.images == 1 else f"{times.images} images"
    return (
        f"{images} a call: {times.expected_ms(answered):.3g} ms expected, {times.worst_ms:.3g} ms "
        f"at worst; the original {times.slow.median_ms:.3g} ms ({times.speedup(answered):.2f}x)"
    )
