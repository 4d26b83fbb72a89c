"""A camera that holds a frame rate, by a detector's frontier: figure 1 of the paper's supplement.

    pip install 'virtualpool[examples]'
    python examples/camera.py RUN_DIR VIDEO_OR_FOLDER --frames-per-second 10 --out boxes.mp4

RUN_DIR is of `virtualpool tune --task detection`. Its models, with more sites or smaller images,
are timed on this machine, on the first frame, and the loop begins with the most accurate one that
holds the rate. While the rate is lost it goes to faster models, one by one, and back when there is
room. A video or a folder of images stands for the camera; its frames come as fast as they are
worked on. Ctrl-C ends the loop.
Folders need no more than `virtualpool` itself; the extra is for videos.
"""

import argparse
import itertools
import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from frames import IMAGES, Show, drawn, folder, frames, video, window
from rich.console import Console
from rich.live import Live
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_dtype

from virtualpool import Frontier, VirtualPoolError
from virtualpool.cli.detectors import classes_of, original_of, refuse_other_tasks
from virtualpool.measure.boxes import as_sure_as
from virtualpool.report import record
from virtualpool.report.record import Record
from virtualpool.search import Point
from virtualpool.tasks.detection.found import found_in

LEAST_SCORE = 0.5
TIMING_SECONDS = 1.0  # of each model
FRAMES = 10  # that the rate is the mean of
ROOM = 0.9  # of a frame's time: what a more accurate model may be expected to take

console = Console(highlight=False, markup=False, soft_wrap=True)


@dataclass
class Pace:
    """Chooses the model by how long the last frames took.

    Attributes:
        points: from the most accurate to the fastest.
        place: which of them is in use.
        budget_ms: the time that the rate leaves to a frame.
        frames: how many were shown.
        late: how many of these took longer.
    """

    points: Sequence[Point]
    place: int
    budget_ms: float
    frames: int = 0
    late: int = 0
    _recent_ms: deque[float] = field(default_factory=lambda: deque(maxlen=FRAMES))

    @property
    def point(self) -> Point:
        """The model in use."""
        return self.points[self.place]

    @property
    def mean_ms(self) -> float:
        """What the last frames took; before there are any, what the model alone takes."""
        if not self._recent_ms:
            return self.point.latency.median_ms
        return sum(self._recent_ms) / len(self._recent_ms)

    def took(self, milliseconds: float) -> str | None:
        """Notes how long a frame took. If that changes the model, says why."""
        self._recent_ms.append(milliseconds)
        self.frames += 1
        self.late += milliseconds > self.budget_ms
        if len(self._recent_ms) < FRAMES:
            return None
        if self.mean_ms > self.budget_ms and self.point is not self.points[-1]:
            return self._go_to(self.place + 1, "the rate is lost")
        if self.place and self.mean_ms * self._cost_of_accuracy() <= ROOM * self.budget_ms:
            return self._go_to(self.place - 1, "there is room")
        return None

    def _cost_of_accuracy(self) -> float:
        return self.points[self.place - 1].latency.median_ms / self.point.latency.median_ms

    def _go_to(self, place: int, why: str) -> str:
        self.place = place
        self._recent_ms.clear()
        return f"{why}: on with {titled(self.point)}"


def main() -> None:
    """Reads the first frame and the models, picks one, and runs the loop."""
    options = parsed()
    stream = frames(options.source, console.print)
    first = next(stream, None)
    if first is None:
        raise VirtualPoolError(
            f"{options.source}: no frame can be read; give a video, or a folder of "
            f"{', '.join(IMAGES)} images."
        )
    run = record.read(options.run_dir)
    frontier, network = opened(run, options.model, options.weights)
    classes = options.classes or classes_of(run)
    with ExitStack() as stack:
        # Opened before the models are timed: that takes a while, and would be lost.
        shows = [stack.enter_context(output) for output in outputs(options, first)]
        console.print(f"Timing {len(frontier.points)} models on the first frame ...")
        frontier = frontier.timed(network, [on_device(first, network)], duration_s=TIMING_SECONDS)
        # A model that another one beats in both accuracy and speed is of no use at any rate.
        frontier = replace(frontier, points=frontier.pareto)
        budget_ms = 1000 / options.frames_per_second
        point = picked(frontier, budget_ms)
        models = [ready(frontier.restore(network, each)) for each in frontier.points]
        pace = Pace(frontier.points, frontier.points.index(point), budget_ms)
        try:
            watch(itertools.chain([first], stream), models, pace, shows, classes)
        except KeyboardInterrupt:
            if not pace.frames:  # there is nothing to keep
                raise


def watch(
    stream: Iterator[Tensor],
    models: Sequence[nn.Module],
    pace: Pace,
    shows: Sequence[Show],
    classes: Sequence[str],
) -> None:
    """The loop: takes a frame, finds, draws, shows; then the pace says which model is next."""
    with Live(console=console) as live:
        boxes, begun = 0, time.perf_counter()
        for frame in stream:
            rate = f"{1000 / pace.mean_ms:.3g} frames per second, {titled(pace.point)}"
            found = detected(models[pace.place], frame)
            picture = drawn(frame, found, classes, rate)
            for show in shows:
                show(picture)
            boxes += len(found["boxes"])
            ended = time.perf_counter()
            change = pace.took(1000 * (ended - begun))
            begun = ended
            live.update(f"frame {pace.frames}: {rate}, {pace.late} late, {boxes} boxes found")
            if change:
                console.print(f"frame {pace.frames}: {change}")


def opened(run: Record, model: str | None, weights: str | None) -> tuple[Frontier, nn.Module]:
    """The models of a run, and the unmodified network, on a GPU if there is one."""
    refuse_other_tasks(run)
    if run.frontier is None:
        raise VirtualPoolError(f"{run.directory}: no round is done yet; go on with the run first.")
    return run.frontier, original_of(run, model, weights, None)[1]


def titled(point: Point) -> str:
    """A model's name, and its image scale where it has one."""
    scale = point.plan.image_scale
    return point.name if scale == 1 else f"{point.name} (image scale {scale:g})"


def picked(frontier: Frontier, budget_ms: float) -> Point:
    """The most accurate model that is fast enough, else the fastest; says which and why."""
    console.print(f"Timed: {frontier.original.latency.setting}")
    for each in frontier.points:
        milliseconds = each.latency.median_ms
        console.print(
            f"  {titled(each):10} accuracy {each.accuracy:.4f} {milliseconds:9.1f} ms, "
            f"{1000 / milliseconds:.3g} frames per second"
        )
    try:
        point = frontier.pick(max_latency_ms=budget_ms)
    except VirtualPoolError as error:
        console.print(f"The rate cannot be held. {error}")
        point = frontier.points[-1]
        console.print(f"Begins with {titled(point)}, the fastest")
        return point
    console.print(
        f"Begins with {titled(point)}, the most accurate that takes {budget_ms:.4g} ms or less"
    )
    return point


def ready(model: nn.Module) -> nn.Module:
    """A model in the state that it was timed in."""
    return model.eval().to(memory_format=torch.channels_last)


def on_device(frame: Tensor, model: nn.Module) -> Tensor:
    """A frame as detectors take it: float32 in [0, 1], where the model is."""
    return to_dtype(frame.to(next(model.parameters()).device), torch.float32, scale=True)


@torch.inference_mode()
def detected(model: nn.Module, frame: Tensor) -> dict[str, Tensor]:
    """The boxes, labels and scores that a model is sure enough of, on the CPU."""
    [found] = found_in([on_device(frame, model)], model)
    return as_sure_as(LEAST_SCORE, found)


def outputs(options: argparse.Namespace, first: Tensor) -> Iterator[AbstractContextManager[Show]]:
    """Where the pictures go to."""
    if options.show:
        yield window(first)
    if options.out and is_video(options.out):
        yield video(options.out, options.frames_per_second, first)
    elif options.out:
        yield folder(options.out)


def is_video(path: Path) -> bool:
    """Whether a video is to be written there, rather than a folder of images."""
    return path.suffix.lower() == ".mp4" and not path.is_dir()


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_dir", type=Path, help="of virtualpool tune --task detection")
    parser.add_argument("source", type=Path, help="a video, or a folder of images")
    parser.add_argument("--frames-per-second", type=positive, required=True, help="to be held")
    parser.add_argument("--out", type=video_or_folder, help="a .mp4 file or a folder to write to")
    parser.add_argument("--show", action="store_true", help="in a window")
    parser.add_argument("--classes", nargs="+", default=[], help="their names, if not the data's")
    parser.add_argument("--model", help="the network, if it is not where the run found it")
    parser.add_argument("--weights", help="its weights, likewise")
    return parser.parse_args()


def video_or_folder(text: str) -> Path:
    """A .mp4 file or a folder; what looks like a file of another kind is not taken for a folder."""
    path = Path(text)
    if path.suffix and not is_video(path) and not path.is_dir():
        raise argparse.ArgumentTypeError(
            f"{text}: only .mp4 files can be written; give one, or a folder, which has no suffix "
            "or is there already"
        )
    return path


def positive(text: str) -> float:
    """A number above zero."""
    if not 0 < (number := float(text)) < math.inf:
        raise ValueError
    return number


if __name__ == "__main__":
    try:
        main()
    except VirtualPoolError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:  # before a frame was shown
        print("interrupted", file=sys.stderr)
        sys.exit(130)
