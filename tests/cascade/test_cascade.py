import json
import random
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from tests.fuzzing import garbled, rewritten
from torch import Tensor, nn

import virtualpool as vp
from virtualpool import Cascade, VirtualPoolError
from virtualpool.cascade import Calibration, Times
from virtualpool.cascade.calibrating import Outcome
from virtualpool.measure import Latency, Setting

RULE = Calibration(1.0, 0.4, 0.01, 0.01, 0.95, True, Outcome(1000, 0.75, 2, 1))


class Table(nn.Module):
    """Gives its images, which are logits already, and notes how many came at once."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale, self.seen = scale, []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        return images * self.scale


@pytest.fixture
def networks():
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(4, 5),
        ).eval()  # fmt: skip
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return network, vp.fuse(vp.apply(network, images, border="padded"), images), images


def _halved(cascade: Cascade, images: Tensor) -> Cascade:
    """With the threshold between the margins of the images."""
    with torch.no_grad():
        margins = torch.stack([_margin(cascade.fast(image[None])) for image in images])
    rule = replace(cascade.calibration, threshold=float(margins.median()))
    return Cascade(cascade.fast, cascade.slow, rule)


def _margin(logits: Tensor) -> Tensor:
    first, second = logits.softmax(1).topk(2).values[0]
    return first - second


def test_the_original_sees_the_unsure_images_alone():
    fast, slow = Table(), Table(-1.0)
    cascade = Cascade(fast, slow, RULE)
    images = torch.tensor([[9.0, 0.0], [0.1, 0.0], [0.0, 9.0], [0.0, 0.0]])
    found = cascade(images)
    assert (fast.seen, slow.seen) == ([4], [2])
    assert torch.equal(found, torch.tensor([[9.0, 0], [-0.1, 0], [0, 9], [0, 0]]))
    cascade(images[::2])
    assert slow.seen == [2]


def test_a_nan_is_not_sure():
    images = torch.tensor([[float("nan"), 9.0]])
    slow = Table()
    assert Cascade(Table(), slow, replace(RULE, threshold=-1.0))(images).isnan().any()
    assert slow.seen == [1]


def test_a_batch_gives_what_its_images_give_alone(networks):
    network, fast, images = networks
    cascade = _halved(Cascade(fast, network, RULE), images)
    with torch.no_grad():
        whole = cascade(images)
        alone = torch.cat([cascade(image[None]) for image in images])
        sure = cascade.is_sure(fast(images))
    assert 0 < sure.sum() < len(images)
    torch.testing.assert_close(whole, alone)
    torch.testing.assert_close(whole[~sure], network(images)[~sure])


def test_the_fast_models_logits_stay_as_they_were():
    cascade = Cascade(nn.Identity(), Table(-1.0), replace(RULE, threshold=1.0))
    given = torch.rand(3, 4)
    before = given.clone()
    assert torch.equal(cascade(given), -given)
    assert torch.equal(given, before)


def _latency(ms: float, batch: int) -> Latency:
    setting = Setting("cpu", "A processor", "float32", batch, 1, "eager", True, "2.9.0")
    return Latency((ms, ms, ms), setting)


def test_it_says_what_it_promises_and_how_fast_it_is():
    times = [Times(_latency(2, 1), _latency(8, 1)), Times(_latency(30, 32), _latency(120, 32))]
    assert str(Cascade(Table(), Table(), RULE, times)).splitlines() == [
        "Cascade: the fast model (Table) answers 75.0 % of images, the original (Table) the rest",
        "  promised: at most 1.00 % of images lost, with confidence 0.95",
        "  calibration: 1000 images with labels; 2 lost, 1 won",
        "  1 image a call: 4 ms expected, 10 ms at worst; the original 8 ms (2.00x)",
        "  32 images a call: 60 ms expected, 150 ms at worst; the original 120 ms (2.00x)",
    ]


def test_latencies_are_measured_by_image_and_in_batches(networks):
    network, fast, images = networks
    cascade = Cascade(fast, network, RULE).timed(images, repeats=1, duration_s=0.01)
    assert [it.images for it in cascade.times] == [1, 6]
    one = Cascade(fast, network, RULE).timed(images, repeats=1, batch=1)
    assert [it.images for it in one.times] == [1]
    whole = vp.measure.latency(cascade, images, repeats=1)
    assert whole.median_ms > 0


def test_saved_and_loaded_it_is_equal(networks, tmp_path):
    network, fast, images = networks
    times = [Times(_latency(2, 1), _latency(8, 1))]
    cascade = _halved(Cascade(fast, network, RULE), images)
    cascade = Cascade(cascade.fast, cascade.slow, cascade.calibration, times)
    for _ in range(2):  # the second takes the place of the first
        cascade.save(tmp_path / "saved")
    again = Cascade.load(network, tmp_path / "saved")
    assert (again.calibration, again.times) == (cascade.calibration, cascade.times)
    assert str(again) == str(cascade)
    assert vp.plan_of(again.fast) == vp.plan_of(fast)
    with torch.no_grad():
        assert torch.equal(again(images), cascade(images))
    assert sorted(it.name for it in (tmp_path / "saved").iterdir()) == [
        "cascade.json", "fast.safetensors", "slow.safetensors",
    ]  # fmt: skip


BROKEN = {
    "a newer schema": (lambda it: it | {"schema": 99}, "schema 99"),
    "no calibration": (lambda it: {"schema": 2}, "Not a cascade"),
    "a threshold out of range": (
        lambda it: it | {"calibration": it["calibration"] | {"threshold": 2}}, "Not a cascade",
    ),
    "no share": (
        lambda it: it
        | {"calibration": it["calibration"] | {"outcome": {"images": 1, "answered": 3}}},
        "Not a cascade",
    ),
    "no temperature": (
        lambda it: it | {"calibration": it["calibration"] | {"temperature": 0}}, "Not a cascade",
    ),
    "other names": (
        lambda it: it | {"files": {"../x": "", "slow.safetensors": ""}}, "Not a cascade: its files",
    ),
    "another file": (
        lambda it: it | {"files": it["files"] | {"fast.safetensors": "0"}}, "another file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused(networks, tmp_path, case):
    network, fast, _ = networks
    change, message = BROKEN[case]
    Cascade(fast, network, RULE).save(tmp_path)
    path = tmp_path / "cascade.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(VirtualPoolError, match=message) as caught:
        Cascade.load(network, tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_files_that_were_changed_at_random_are_refused_or_right(networks, tmp_path):
    network, fast, images = networks
    times = [Times(_latency(2, 1), _latency(8, 1))]
    Cascade(fast, network, RULE, times).save(tmp_path)
    path = tmp_path / "cascade.json"
    whole = path.read_bytes()
    for seed in range(60):
        rng = random.Random(seed)
        if seed % 3:
            path.write_text(rewritten(json.loads(whole), rng))
        else:
            path.write_bytes(garbled(whole, rng))
        with suppress(VirtualPoolError):
            found = Cascade.load(network, tmp_path)
            assert repr(found)
            assert found(images).isfinite().all()


def test_a_folder_with_other_files_is_refused_and_left(networks, tmp_path):
    network, fast, _ = networks
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(VirtualPoolError, match=r"holds other files \(thesis.tex\)"):
        Cascade(fast, network, RULE).save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "all of it"


@pytest.mark.parametrize("name", ["fast.safetensors", "cascade.json"])
def test_missing_files_are_refused(networks, tmp_path, name):
    network, fast, _ = networks
    Cascade(fast, network, RULE).save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(VirtualPoolError, match=f"{name}: cannot be read"):
        Cascade.load(network, tmp_path)


class Gives(nn.Module):
    """Gives what a function makes of the images."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor):
        return self.function(images)


REFUSED = {
    "maps": (lambda x: x[:, :, None, None], "a segmentation network and the original a classifier"),
    "one axis more": (lambda x: x[:, :, None], r"gives a tensor \(4, 3, 1\)"),
    "no detector": (lambda x: [{"scores": x}], "or a detector's boxes, and .* gives a list"),
    "one class": (lambda x: x[:, :1], "tells one class"),
    "too many": (lambda x: torch.cat([x, x]), r"gives a tensor \(8, 3\)"),
    "nan": (lambda x: torch.where(x < 0, x, torch.nan), "nan or infinity for 4 of 4 images"),
    "other classes": (lambda x: x[:, :2], r"fast model gives \(4, 2\) where .* \(4, 3\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_outputs_that_are_no_logits_are_refused_by_name(case):
    function, message = REFUSED[case]
    with pytest.raises(VirtualPoolError, match=message):
        Cascade.calibrated(Gives(function), Table(), [torch.rand(4, 3)])


LABELS = {
    "floats": torch.rand(4),
    "too few": torch.zeros(3, dtype=torch.long),
    "too large": torch.full((4,), 3),
    "negative": torch.full((4,), -1),
    "words": ["a", "b", "c", "d"],
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_are_no_classes_are_refused(case):
    with pytest.raises(VirtualPoolError, match="no 4 numbers of classes from 0 to 2"):
        Cascade.calibrated(Table(), Table(), [(torch.rand(4, 3), LABELS[case])])


def test_batches_with_and_without_labels_and_none_are_refused():
    x, y = torch.rand(4, 3), torch.zeros(4, dtype=torch.long)
    with pytest.raises(VirtualPoolError, match="1 of 2 batches have labels"):
        Cascade.calibrated(Table(), Table(), [(x, y), x])
    with pytest.raises(VirtualPoolError, match="no batches"):
        Cascade.calibrated(Table(), Table(), [])


def test_an_iterator_is_enough():
    batches = (torch.rand(100, 3) for _ in range(4))
    assert Cascade.calibrated(Table(), Table(), batches).calibration.outcome.answered == 1
