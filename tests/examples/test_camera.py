"""`examples/camera.py` on twelve images of BCCD, with a detector that is sure of all it sees."""

import re
import runpy
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from tests.tasks.detection.tiny import tiny_detector

import virtualpool as vp
from virtualpool.documents import read_document, write_document
from virtualpool.measure import Latency, Setting
from virtualpool.search import Point
from virtualpool.search.frontier import frontier

EXAMPLES = Path(__file__).parents[2] / "examples"
CLIP = Path(__file__).with_name("cells.mp4")
FRAMES = 12
ACCURACIES = {"original": 0.9, "round-01": 0.8, "round-02": 0.7}
SETTING = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")

Camera = Callable[..., Any]


def sure() -> torch.nn.Module:
    detector = tiny_detector()
    torch.nn.init.constant_(detector.get_parameter("roi_heads.box_predictor.cls_score.bias"), 5)
    return detector


def unsure() -> torch.nn.Module:
    return tiny_detector()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two rounds, each of which costs a tenth of accuracy."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    accuracies = iter(ACCURACIES.values())
    vp.search(
        sure().eval(),
        [torch.rand(3, 30, 40)],
        evaluate=lambda _: next(accuracies),
        rounds=[["backbone.0"], ["backbone.3"]],
        run_dir=folder,
        latency={"repeats": 1},
        settings={"task": "detection", "model": f"{__file__}:sure", "weights": None},
    )
    return folder


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Camera:
    """Runs the example as a user would, with the times that it shall measure."""

    def run(*arguments: object, takes_ms: tuple[float, float, float] = (3e6, 2e6, 1e6)) -> None:
        def latency(models: Mapping[str, Any], *_: Any, **__: Any) -> dict[str, Latency]:
            assert list(models) == list(ACCURACIES)
            return {
                name: Latency((milliseconds,), SETTING)
                for name, milliseconds in zip(models, takes_ms, strict=True)
            }

        monkeypatch.setattr(frontier, "latency", latency)
        monkeypatch.setattr(sys, "argv", ["camera.py", *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / "camera.py"), run_name="__main__")

    monkeypatch.syspath_prepend(EXAMPLES)
    return run


@pytest.mark.parametrize(
    ("rate", "takes_ms", "said"),
    [
        pytest.param(
            1e-3,
            (9e5, 8e5, 7e5),
            ["Begins with original, the most accurate that takes 1e+06 ms or less"],
            id="all hold the rate",
        ),
        pytest.param(
            1e-3,
            (2e6, 1e6, 1e2),
            ["Begins with round-01, the most", "frame 10: there is room: on with original"],
            id="one does, and leaves room",
        ),
        pytest.param(
            1e6,
            (3e-4, 2e-4, 1e-4),
            ["Begins with original, the most", "frame 10: the rate is lost: on with round-01"],
            id="the rate is lost",
        ),
        pytest.param(
            1e6,
            (3, 2, 1),
            [
                "The rate cannot be held. No model is within max_latency_ms=0.001",
                "Begins with round-02, the fastest",
            ],
            id="none holds it",
        ),
        pytest.param(
            1e-3,
            (1e5, 2e5, 5e4),
            ["Begins with original, the most"],
            id="one that is slower and less accurate is left out",
        ),
    ],
)
def test_the_model_that_holds_the_rate(
    camera: Camera,
    run_dir: Path,
    capsys: pytest.CaptureFixture[str],
    rate: float,
    takes_ms: tuple[float, float, float],
    said: list[str],
) -> None:
    camera(run_dir, CLIP, "--frames-per-second", rate, takes_ms=takes_ms)
    output = capsys.readouterr().out
    changes = [line for line in output.splitlines() if re.match(r"Begins|The rate|frame 10:", line)]
    assert [line[: len(start)] for line, start in zip(changes, said, strict=True)] == said
    assert ("round-01   accuracy 0.8000" in output) == (takes_ms[1] < takes_ms[0])
    late = FRAMES if rate == 1e6 else 0
    assert re.search(rf"frame {FRAMES}: \S+ frames per second, .*, {late} late, \d+ boxes", output)


def test_a_model_may_see_smaller_images(
    camera: Camera, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run_dir, copied)
    path = copied / "round-02" / "point.json"
    last = read_document(path, Point.from_json)
    assert last.weights is not None
    scaled = vp.apply(sure().eval(), [torch.rand(3, 30, 40)], [], image_scale=0.5)
    vp.save(scaled, copied / last.weights)
    write_document(path, replace(last, plan=vp.plan_of(scaled)).to_json())
    camera(copied, CLIP, "--frames-per-second", 1e-3, takes_ms=(2e6, 2e6, 1e2))
    assert "Begins with round-02 (image scale 0.5)" in capsys.readouterr().out


def test_a_video_of_the_frames_with_boxes(camera: Camera, run_dir: Path, tmp_path: Path) -> None:
    written = tmp_path / "deep" / "boxes.mp4"
    camera(run_dir, CLIP, "--frames-per-second", 10, "--out", written)
    before, after = pixels(CLIP), pixels(written)
    assert before.shape == after.shape == (FRAMES, 120, 160, 3)
    assert (before - after).abs().amax((1, 2, 3)).gt(100).all()
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_folders_of_images(
    camera: Camera, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, written = tmp_path / "images", tmp_path / "boxes"
    images.mkdir()
    for name, side in (("a.jpg", 41), ("c.JPG", 51)):
        Image.new("RGB", (side, 31)).save(images / name)
    (images / "b.png").write_text("broken")
    (images / "notes.txt").write_text("no image")
    more = ["--frames-per-second", 10, "--classes", "cell"]
    camera(run_dir, images, "--out", written, *more)
    pictures = [Image.open(path) for path in sorted(written.iterdir())]
    assert [picture.size for picture in pictures] == [(41, 31), (51, 31)]
    assert all(max(picture.tobytes()) > 200 for picture in pictures)
    assert "b.png cannot be read and is left out" in capsys.readouterr().out
    camera(run_dir, images, "--out", tmp_path / "odd.mp4", *more)
    assert pixels(tmp_path / "odd.mp4").shape == (2, 30, 40, 3)


def pixels(path: Path) -> torch.Tensor:
    import av  # not above: the run's network is built by this file, without av in one test

    with av.open(path) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    return torch.stack([torch.from_numpy(frame) for frame in frames]).int()


def refused(camera: Camera, *arguments: object, **options: Any) -> str:
    with pytest.raises(SystemExit) as ended:
        camera(*arguments, "--frames-per-second", 10, **options)
    return str(ended.value)


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where models are timed: refusals come before."""
    monkeypatch.setattr(frontier.Frontier, "timed", lambda *_, **__: pytest.fail("timed"))


@pytest.mark.usefixtures("no_time")
def test_what_is_refused(
    camera: Camera, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no frame can be read" in refused(camera, run_dir, tmp_path)
    assert "no frame can be read" in refused(camera, run_dir, Path(__file__))
    assert "no run lives here" in refused(camera, tmp_path, CLIP)
    (tmp_path / "config.json").write_text('{"settings": {"model": "torchvision:resnet18"}}')
    assert "not a run of `virtualpool tune --task detection`" in refused(camera, tmp_path, CLIP)
    other = f"{__file__}:unsure"
    assert "was made with other weights" in refused(camera, run_dir, CLIP, "--model", other)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert "--show: no window can be opened here" in refused(camera, run_dir, CLIP, "--show")


@pytest.mark.parametrize(
    ("out", "named", "why"),
    [
        pytest.param("file", "file", "File exists", id="a folder in the place of a file"),
        pytest.param("file/boxes", "file/boxes", "Not a directory", id="a folder in a file"),
        pytest.param("file/boxes.mp4", "file", "File exists", id="a video in a file"),
        pytest.param("/proc", "/proc", "", id="a folder that is there, but is to be read only"),
        pytest.param("/proc/boxes.mp4", "/proc/boxes.mp4", "", id="a video in such a folder"),
    ],
)
@pytest.mark.usefixtures("no_time")
def test_out_that_cannot_be_written(
    camera: Camera, run_dir: Path, tmp_path: Path, out: str, named: str, why: str
) -> None:
    (tmp_path / "file").touch()
    said = refused(camera, run_dir, CLIP, "--out", tmp_path / out)
    assert said.startswith(f"error: {tmp_path / named}: cannot be written ({why}")


@pytest.mark.parametrize(
    ("out", "is_taken"),
    [
        ("boxes.avi", False),
        ("boxes.mp4.part", False),
        ("old.avi", True),  # a folder that is there
        ("boxes.MP4", True),
        ("boxes", True),
        (".boxes", True),
    ],
)
def test_suffixes_of_out(
    camera: Camera,
    run_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    out: str,
    is_taken: bool,
) -> None:
    (tmp_path / "old.avi").mkdir()
    if is_taken:
        camera(run_dir, CLIP, "--frames-per-second", 10, "--out", tmp_path / out)
        assert (tmp_path / out).is_dir() == (out != "boxes.MP4")
    else:
        # Nothing is read before: there is no such run.
        assert refused(camera, tmp_path / "none", CLIP, "--out", tmp_path / out) == "2"
        assert f"{out}: only .mp4 files can be written" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["old.avi"]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        pytest.param(frontier.Frontier, "timed", id="while models are timed"),
        pytest.param(ImageDraw.ImageDraw, "text", id="while the first frame is drawn"),
    ],
)
def test_ctrl_c_before_a_frame_is_shown(
    camera: Camera,
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    owner: type,
    name: str,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, interrupted)
    out = tmp_path / "boxes.mp4"
    out.write_text("of before")
    assert refused(camera, run_dir, CLIP, "--out", out) == "130"
    assert capsys.readouterr().err == "interrupted\n"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {out.name: "of before"}


def test_without_av_folders_can_be_read_and_written(
    camera: Camera, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "frames", raising=False)
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (41, 31)).save(images / "a.jpg")
    camera(run_dir, images, "--frames-per-second", 10, "--out", tmp_path / "boxes")
    assert len(list((tmp_path / "boxes").iterdir())) == 1
    monkeypatch.setattr(frontier.Frontier, "timed", lambda *_, **__: pytest.fail("timed"))
    for arguments in ([CLIP], [images, "--out", tmp_path / "boxes.mp4"]):
        said = refused(camera, run_dir, *arguments)
        assert re.fullmatch(r"error: .*pip install 'virtualpool\[examples\]'", said)


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "fast"])
def test_a_rate_is_a_number_above_zero(
    camera: Camera, run_dir: Path, rate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        camera(run_dir, CLIP, f"--frames-per-second={rate}")
    assert f"--frames-per-second: invalid positive value: '{rate}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("begin", "took", "ends", "late"),
    [
        pytest.param(0, [99] * 30, 0, 0, id="the rate is held"),
        pytest.param(0, [101] * 9, 0, 9, id="too few frames to tell"),
        pytest.param(0, [101] * 10, 1, 10, id="lost"),
        pytest.param(0, [101] * 9 + [90] * 30, 0, 9, id="a few late frames"),
        pytest.param(0, [101] * 19, 1, 19, id="the next model has as many frames"),
        pytest.param(0, [101] * 20, 2, 20, id="lost twice"),
        pytest.param(2, [200] * 30, 2, 30, id="there is no faster one"),
        pytest.param(1, [45] * 10, 0, 0, id="room for twice the time"),
        pytest.param(1, [46] * 30, 1, 0, id="nearly room"),
        pytest.param(2, [22] * 10 + [40] * 10, 0, 0, id="room for both"),
        pytest.param(2, [22] * 10 + [101] * 10, 2, 10, id="there and back"),
    ],
)
def test_pace(camera: Camera, begin: int, took: list[int], ends: int, late: int) -> None:
    points = [
        SimpleNamespace(name=str(ms), latency=SimpleNamespace(median_ms=ms), plan=vp.Plan())
        for ms in (80, 40, 10)
    ]
    pace = runpy.run_path(str(EXAMPLES / "camera.py"))["Pace"](points, begin, 100)
    assert pace.mean_ms == points[begin].latency.median_ms
    for milliseconds in took:
        pace.took(milliseconds)
    assert (pace.place, pace.late) == (ends, late)
