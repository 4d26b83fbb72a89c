"""`export`: each format that is installed here, and everything that it refuses."""

import json
import re
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import nn

import virtualpool as vp
from tests.export.networks import (
    IMAGES,
    Branching,
    Counting,
    Deciding,
    Detecting,
    NotFinite,
    OwnOutputs,
    fused,
    tiny,
)
from tests.tasks.detection.tiny import tiny_detector
from virtualpool.export import exporting, format, timing
from virtualpool.export.program import PROGRAM
from virtualpool.graph.image_scale import resized


@pytest.fixture(autouse=True)
def timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_REPEATS", 1)


def run_onnx(file: Path, images: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return torch.as_tensor(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


@pytest.mark.parametrize("name", ["net.onnx", "net.xml", "net.pt2"])
def test_a_file_its_card_and_its_report(name: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / name
    report = vp.export(
        fused(),
        path,
        IMAGES,
        original=tiny(),
        open_axes="batch",
        threads=1,
        score={"accuracy": 0.9},
    )
    files = {path.name, f"{name}.card.json"} | ({"net.bin"} if name == "net.xml" else set())
    assert {each.name for each in path.parent.iterdir()} == files
    assert report.difference is not None
    assert report.difference < 1e-5
    assert [check.shapes.partition("x")[0] for check in report.checks] == list("11134")
    assert report.model["fused"] == 2
    assert report.latency is not None
    assert report.latency.setting.threads == 1
    assert report.speedup is not None
    assert "Right in" in str(report)
    assert "Latency: " in str(report)
    assert "2 sites pooled, 2 of them fused" in str(report)
    card = json.loads((tmp_path / "deep" / f"{name}.card.json").read_text())
    assert card == json.loads(json.dumps(report.to_json()))
    assert card["score"] == {"accuracy": 0.9}
    assert [site["name"] for site in card["model"]["plan"]["sites"]] == ["0", "2"]
    assert card["versions"]["torch"] == metadata.version("torch")
    assert card["size_bytes"] == sum(
        (path.parent / each).stat().st_size for each in files if not each.endswith(".json")
    )


def test_every_size_of_a_fused_network_with_padded_borders(tmp_path: Path) -> None:
    padded = vp.fuse(vp.apply(tiny(), IMAGES, border="padded"), IMAGES)
    report = vp.export(padded, tmp_path / "net.onnx", IMAGES, open_axes="all")
    assert len({check.shapes.partition("x")[2] for check in report.checks}) == 10
    images = torch.rand(5, 3, 31, 40)
    with torch.no_grad():
        expected = padded(images)
    found = run_onnx(tmp_path / "net.onnx", images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_every_size_of_an_unmodified_network(tmp_path: Path) -> None:
    report = vp.export(tiny(), tmp_path / "net.pt2", IMAGES, open_axes="all")
    assert len({check.shapes.partition("x")[2] for check in report.checks}) == 10


def test_a_file_needs_no_virtualpool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, file = fused(), tmp_path / "net.pt2"
    vp.export(network, file, IMAGES)
    with torch.no_grad():
        expected = network(IMAGES)
    for name in [name for name in sys.modules if name.partition(".")[0] == "virtualpool"]:
        monkeypatch.setitem(sys.modules, name, None)
    found = torch.export.load(file).module()(IMAGES)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_program_has_no_weights_beside_the_folded_ones(tmp_path: Path) -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1) for _ in range(2))).eval()
    images = torch.rand(1, 64, 8, 8)
    folded = vp.fuse(vp.apply(wide, images), images)
    plain, less = (vp.export(it, tmp_path / "net.pt2", images) for it in (wide, folded))
    assert less.size_bytes < 1.3 * plain.size_bytes


def test_inputs_and_outputs_by_name(tmp_path: Path) -> None:
    inputs = {"images": IMAGES, "offset": torch.ones(1)}
    path = tmp_path / "net.onnx"
    report = vp.export(Branching(), path, inputs)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["images", "offset"]
    assert [each.name for each in session.get_outputs()] == ["map", "largest"]
    assert report.checks[0].shapes == "1x3x20x22 1"


@pytest.mark.parametrize("name", ["net.onnx", "net.xml"])
def test_float16_takes_and_gives_float32(name: str, tmp_path: Path) -> None:
    report = vp.export(fused(), tmp_path / name, IMAGES, precision="float16")
    assert report.difference is not None
    assert 0 < report.difference < 1e-2
    if name == "net.onnx":
        assert run_onnx(tmp_path / name, IMAGES).dtype is torch.float32


def test_the_form_for_every_runtime(tmp_path: Path) -> None:
    report = vp.export(fused(), tmp_path / "net.onnx", IMAGES, format="onnx-any")
    assert report.operators["Pad"] == 1


def test_int8_is_judged_by_its_agreement(tmp_path: Path) -> None:
    batches = [(torch.rand(3, 3, 20, 22), torch.zeros(3)) for _ in range(4)]
    report = vp.export(
        fused(), tmp_path / "net.onnx", IMAGES, precision="int8", calibration=batches
    )
    assert report.agreement is not None
    assert report.agreement.samples == 3
    assert report.agreement.cosine > 0.99
    assert report.checks == ()
    assert "QuantizeLinear" in report.operators
    assert "that it was not calibrated with: the same class for" in str(report)


def test_the_form_for_tensorrt_and_its_command(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    options: dict[str, Any] = {"format": "tensorrt", "open_axes": "batch", "precision": "float16"}
    report = vp.export(fused(), path, IMAGES, **options)
    assert not report.operators.keys() & {"Pad", "Slice"}
    said = str(report)
    assert "trtexec --onnx=net.onnx --saveEngine=net.engine --fp16" in said
    assert re.search(r"--minShapes=\w+:1x3x20x22 ", said)
    assert re.search(r"--maxShapes=\w+:32x3x20x22$", said)


def test_a_model_in_a_wrapper(tmp_path: Path) -> None:
    report = vp.export(nn.DataParallel(fused()), tmp_path / "net.pt2", IMAGES)
    assert report.model["name"] == "PooledSequential"


def test_a_part_gets_the_inputs_that_it_has_in_the_model(tmp_path: Path) -> None:
    report = vp.export(tiny(), tmp_path / "head.pt2", IMAGES, part="6", original=tiny())
    assert report.model["name"] == "Sequential"
    assert report.model["part"] == "6"
    assert "6 of Sequential with 0 sites pooled" in str(report)
    assert report.checks[0].shapes == "1x6"
    assert report.speedup is not None


def test_the_file_takes_images_that_are_resized_already(tmp_path: Path) -> None:
    scaled, path = vp.apply(tiny(), IMAGES, ["0"], image_scale=0.75), tmp_path / "net.onnx"
    report = vp.export(vp.fuse(scaled, IMAGES), path, IMAGES, threads=1)
    small = resized(IMAGES, 0.75)
    torch.testing.assert_close(run_onnx(path, small), scaled(IMAGES))
    assert f"1x3x{small.shape[2]}x{small.shape[3]}" in str(report)
    assert "takes images of 0.75 of the side: resize them as you decode" in str(report)
    card = json.loads((tmp_path / "net.onnx.card.json").read_text())
    assert (card["image_scale"], card["model"]["plan"]["image_scale"]) == (0.75, 0.75)


def test_the_original_keeps_its_images_beside_a_scaled_network(tmp_path: Path) -> None:
    calibration = [torch.rand(8, 3, 20, 22)]
    report = vp.export(
        vp.apply(tiny(), IMAGES, [], image_scale=0.75), tmp_path / "net.onnx", IMAGES,
        original=tiny(), precision="int8", calibration=calibration, threads=1,
    )  # fmt: skip
    assert report.latency is not None
    assert report.original_latency is not None
    assert report.image_scale == 0.75


def test_a_runtime_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = replace(PROGRAM, cannot_run="it runs on the moon alone")
    monkeypatch.setattr(exporting, "format_of", lambda *_: elsewhere)
    report = vp.export(tiny(), tmp_path / "net.pt2", IMAGES, original=tiny())
    assert (report.checks, report.difference, report.latency) == ((), None, None)
    assert "Not run: it runs on the moon alone. Compare it" in str(report)


def refused(*arguments: Any, **options: Any) -> str:
    with pytest.raises(vp.VirtualPoolError) as caught:
        vp.export(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("net.foo", {}, "no format has files that end in '.foo'"),
        ("net", {}, "no format has files that end in ''"),
        ("net.onnx", {"format": "onyx"}, "There is no format 'onyx'"),
        ("net.onnx", {"format": "openvino"}, "give it a name that ends in .xml"),
        ("net.onnx", {"precision": "int4"}, "not written with precision='int4'"),
        ("net.pt2", {"precision": "int8"}, "not written with precision='int8'"),
        ("net.onnx", {"open_axes": "rows"}, "not written with open_axes='rows'"),
        ("net.onnx", {"precision": "int8"}, "there is 0 call's worth"),
        ("net.onnx", {"part": "7"}, "has no part '7'"),
    ],
)
def test_wrong_arguments(name: str, options: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in refused(tiny(), tmp_path / name, IMAGES, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "inputs", "said"),
    [
        (tiny(), torch.rand(1, 4, 8, 8), "Sequential does not run on the example inputs"),
        (NotFinite(), IMAGES, "NotFinite gives outputs that are not finite"),
        (Deciding(), IMAGES, "Deciding cannot be converted to torch.export"),
        (Counting(), IMAGES, "Counting gives no tensors"),
        (OwnOutputs(), IMAGES, "OwnOutputs gives a SimpleNamespace, which no file can hold"),
        (OwnOutputs(), IMAGES, "such as its .logits."),
        (tiny(), IMAGES[:0], "hold a tensor without values"),
        (tiny().half(), IMAGES.half(), "Sequential is in float16, and precision= says"),
        (tiny().bfloat16(), IMAGES, "is in bfloat16"),
        (tiny().double(), IMAGES.double(), "Give model.float(), and inputs in float32."),
        ("net", IMAGES, "str"),
    ],
)
def test_models_that_are_refused(
    model: Any, inputs: Any, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(model, tmp_path / "net.pt2", inputs)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("original", "said"),
    [
        (tiny().half(), "Sequential is in float16"),
        (nn.Conv2d(1, 3, 3), "Conv2d does not run on the example inputs"),
    ],
)
def test_originals_that_are_no_yardstick(original: nn.Module, said: str, tmp_path: Path) -> None:
    assert said in refused(tiny(), tmp_path / "net.pt2", IMAGES, original=original)
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_a_fused_network_cannot_leave_open(tmp_path: Path) -> None:
    for name in ("net.onnx", "net.pt2"):
        said = refused(fused(), tmp_path / name, IMAGES, open_axes="all")
        assert "open_axes='all' cannot leave these open" in said
        assert "dynamic_shapes" not in said
    assert list(tmp_path.iterdir()) == []


def test_axes_that_the_model_itself_does_not_leave_open(tmp_path: Path) -> None:
    class Flat(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(2, -1)[:, :4] + torch.zeros(len(x), 1)[:2]

    said = refused(Flat(), tmp_path / "net.pt2", torch.rand(2, 5), open_axes="batch")
    assert "Flat" in said
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_images_as_detectors_take_it(tmp_path: Path) -> None:
    path, images = tmp_path / "net.onnx", [torch.rand(3, 20, 22)]
    said = refused(Detecting(), path, images, open_axes="batch")
    assert "is for inputs in tensors" in said
    report = vp.export(Detecting(), path, images)
    assert report.difference is not None
    assert report.difference < 1e-5
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_outputs()] == ["boxes", "labels"]


@pytest.mark.parametrize("images", [torch.rand(1, 3, 30, 40), [torch.rand(3, 30, 40)]])
def test_a_detector_goes_whole_by_either_form_of_its_images(images: Any, tmp_path: Path) -> None:
    model, path = tiny_detector().eval(), tmp_path / "net.onnx"
    assert "FasterRCNN takes others" in refused(model, path, images, open_axes="all")
    report = vp.export(model, path, images)
    assert report.difference is not None
    assert report.difference < 1e-4
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = images if isinstance(images, torch.Tensor) else images[0]
    found = session.run(["boxes"], {session.get_inputs()[0].name: given.numpy()})[0]
    boxes = torch.as_tensor(found)
    assert len(boxes)
    assert torch.allclose(boxes, model(images)[0]["boxes"], atol=1e-3)


def test_a_missing_package_is_named_with_the_way_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(format, "find_spec", lambda name: None)
    said = refused(tiny(), tmp_path / "net.pte", IMAGES)
    assert "needs executorch" in said
    assert "pip install 'virtualpool[executorch]'" in said


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "net.pt2", Path("/proc/net.pt2")):
        assert "cannot be written" in refused(tiny(), path, IMAGES)


def wrong(ready: Any) -> Any:
    return lambda inputs: lambda: ready(inputs)() * 1.1


def test_a_file_with_other_outputs_takes_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.pt2"
    path.write_text("as it was")
    broken = replace(PROGRAM, ready=lambda path, threads: wrong(PROGRAM.ready(path, threads)))
    monkeypatch.setattr(exporting, "format_of", lambda *_: broken)
    assert "gives other outputs than the model" in refused(tiny(), path, IMAGES)
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stage", ["_written", "checked", "put_in_place"])
def test_killed_half_way_it_leaves_nothing(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, stage, press)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        vp.export(tiny(), tmp_path / "net.pt2", IMAGES)
    assert list(tmp_path.iterdir()) == []
