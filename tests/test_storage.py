"""A saved model comes back bit-equal, or is refused by name."""

import copy
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from tests import fuzzing
from virtualpool import Frontier, VirtualPoolError, apply, fuse, load, plan_of, save
from virtualpool.fuse import report_of
from virtualpool.plan import attach, record_of
from virtualpool.storage import _digest


def network(width=8):
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
    ).eval()  # fmt: skip


IMAGES = torch.rand(2, 3, 12, 11, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "deep" / "fast.safetensors"
    save(apply(network(), IMAGES, "all"), path)
    return path


@pytest.mark.parametrize("names", ["all", ["3"], ["3", "0"]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_comes_back_bit_equal(tmp_path, names, dtype):
    pooled = apply(network().to(dtype), IMAGES.to(dtype), names)
    pooled = pooled.to(memory_format=torch.channels_last)
    path = tmp_path / "fast.safetensors"
    save(pooled, path)
    mine = network(8)
    for parameter in mine.parameters():
        nn.init.zeros_(parameter)
    before = copy.deepcopy(mine.state_dict())
    random = torch.get_rng_state()
    loaded = load(mine, path)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], value) for name, value in mine.state_dict().items())
    assert plan_of(loaded) == plan_of(pooled)
    for name, value in pooled.state_dict().items():
        assert loaded.state_dict()[name].dtype == value.dtype
        assert torch.equal(loaded.state_dict()[name], value)
    images = IMAGES.to(dtype)
    torch.testing.assert_close(loaded(images), pooled(images))


@pytest.mark.parametrize("is_fused", [False, True], ids=["unfused", "fused"])
def test_padded_borders_come_back(tmp_path, is_fused):
    pooled = apply(network(), IMAGES, border="padded")
    path = tmp_path / "fast.safetensors"
    save(fuse(pooled, IMAGES) if is_fused else pooled, path)
    loaded = load(network(), path)
    assert plan_of(loaded) == plan_of(pooled)
    assert plan_of(loaded).padded == ("3",)
    torch.testing.assert_close(loaded(IMAGES), pooled(IMAGES))
    more = load(network(), path, unfused=True)
    assert torch.equal(more(IMAGES), pooled(IMAGES))


def test_the_file_says_which_convolutions_read_padded_borders(tmp_path):
    # Even if another version of the library would have decided otherwise.
    pooled = apply(network(), IMAGES, border="padded")
    record = record_of(pooled)
    assert record is not None
    attach(pooled, replace(record, plan=replace(record.plan, padded=())))
    path = tmp_path / "fast.safetensors"
    save(pooled, path)
    exact = apply(network(), IMAGES)
    assert torch.equal(load(network(), path)(IMAGES), exact(IMAGES))


def test_an_unmodified_model(tmp_path):
    save(network(), tmp_path / "plain.safetensors")
    loaded = load(network(), tmp_path / "plain.safetensors")
    assert plan_of(loaded).names == []
    assert torch.equal(loaded(IMAGES), network()(IMAGES))


def test_tied_weights(tmp_path):
    model = network()
    model[3].bias = model[0].bias
    pooled = apply(model, IMAGES, "all")
    save(pooled, tmp_path / "tied.safetensors")
    loaded = load(model, tmp_path / "tied.safetensors")
    assert loaded[3].bias is loaded[0].bias  # pyright: ignore[reportIndexIssue]
    assert torch.equal(loaded(IMAGES), pooled(IMAGES))


@pytest.mark.parametrize("names", ["all", ["3"], ["0"]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_fused_model_comes_back_fused_and_bit_equal(tmp_path, names, dtype):
    images = IMAGES.to(dtype)
    fused = fuse(apply(network().to(dtype), images, names), images)
    path = tmp_path / "fused.safetensors"
    save(fused, path)
    random = torch.get_rng_state()
    mine = network(8).to(dtype).train()
    nn.init.zeros_(mine[1].running_mean)  # pyright: ignore[reportArgumentType]
    loaded = load(mine, path)
    assert torch.equal(torch.get_rng_state(), random)
    assert mine.training
    assert not loaded.training
    assert plan_of(loaded) == plan_of(fused)
    assert report_of(loaded) == report_of(fused) is not None
    assert loaded.state_dict().keys() == network().state_dict().keys()
    for name, value in fused.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    for other in (images, images[..., :-1]):
        assert torch.equal(loaded(other), fused(other))


def test_a_model_that_was_fused_for_training_comes_back_so(tmp_path):
    fused = fuse(apply(network().train(), IMAGES, "all"), IMAGES, training=True)
    save(fused, tmp_path / "fused.safetensors")
    loaded = load(network().train(), tmp_path / "fused.safetensors")
    assert loaded.training
    assert torch.equal(loaded.eval()(IMAGES), fused.eval()(IMAGES))
    output = loaded.train()(IMAGES)
    assert torch.equal(output, fused.train()(IMAGES))
    output.sum().backward()
    assert loaded.get_parameter("0.weight").grad is not None


def test_it_is_fused_on_the_inputs_that_it_was_fused_on(tmp_path):
    fused = fuse(apply(network(), IMAGES, "all"), torch.rand(1, 3, 16, 20))
    path = tmp_path / "fused.safetensors"
    save(fused, path)
    assert header_of(path)["inputs"]["tensor"] == [2, 3, 12, 11]
    assert header_of(path)["fused"]["inputs"]["tensor"] == [1, 3, 16, 20]
    save(load(network(), path), tmp_path / "again.safetensors")
    assert header_of(tmp_path / "again.safetensors") == header_of(path)


def test_a_fused_file_gives_the_model_unfused_where_that_is_asked_for(tmp_path):
    pooled = apply(network(), IMAGES, ["3"])
    path = tmp_path / "fused.safetensors"
    save(fuse(pooled, IMAGES), path)
    loaded = load(network(), path, unfused=True)
    assert report_of(loaded) is None
    assert torch.equal(loaded(IMAGES), pooled(IMAGES))
    assert plan_of(apply(loaded, IMAGES, ["0"])).names == ["3", "0"]
    with pytest.raises(VirtualPoolError, match=r"fused, .*load\(model, path, unfused=True"):
        apply(load(network(), path), IMAGES, ["0"])


def test_a_file_from_before_there_was_fusing_still_loads(saved):
    rewritten(saved, lambda header: header.pop("fused"))
    loaded = load(network(), saved)
    assert report_of(loaded) is None
    assert plan_of(loaded).names == ["0", "3"]


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(VirtualPoolError, match=rf"{saved.name}: not a whole safetensors file"):
        load(network(), saved)


def header_of(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["virtualpool"])


def rewritten(path, change):
    """The same file with another header."""
    header, tensors = header_of(path), load_file(path)
    change(header)
    header.pop("sha256", None)
    header["sha256"] = _digest(header, tensors)
    save_file(tensors, path, {"virtualpool": json.dumps(header)})


def newer(header):
    header["plan"]["version"] = 99


def unknown_factor(header):
    header["plan"]["sites"][0]["factor"] = [3, 3]


def another_place(header):
    header["plan"]["sites"][0]["follows"] = "norm"


def unknown_site(header):
    header["plan"]["sites"][0]["name"] = "features.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (newer, "version 99"),
        (another_place, r"of 0 after its norm; in this version .* after its activation"),
        (lambda header: header.pop("inputs"), "a plan and no inputs"),
        (lambda header: header.update(inputs=5), "Expected `object"),
        (lambda header: header.update(inputs={"dict": {"a": 5}}), "Not a description of inputs"),
        (lambda header: header["inputs"].update(dtype="float33"), "dtype 'float33'"),
        (lambda header: header["inputs"].update(dtype="load"), "dtype 'load'"),
        (lambda header: header["inputs"].update(tensor=[-1]), "Not a description of inputs"),
        (lambda header: header["inputs"].update(tensor=[1 << 39]), "a file may hold 512"),
        (lambda header: header.update(fused=[1]), "Expected `object"),
        (lambda header: header.update(fused={"inputs": header["inputs"]}), "field `training`"),
        (unknown_factor, "only 2 by 2 is known"),
        (unknown_site, "no convolution 'features.0'"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(saved, change, message):
    rewritten(saved, change)
    with pytest.raises(VirtualPoolError, match=message) as error:
        load(network(), saved)
    assert str(saved) in str(error.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (network(16), r"0.weight \(8, 3, 3, 3\) in place of \(16, 3, 3, 3\)"),
        (network()[:3], "from a Sequential and .* has besides 3.bias, 3.weight"),
        (nn.Sequential(*network(), nn.Conv2d(8, 1, 1)), "lacks 5.weight"),
    ],
)
def test_another_model_is_refused(saved, model, message):
    with pytest.raises(VirtualPoolError, match=message):
        load(model, saved)


def test_a_pooled_model_is_refused(saved):
    with pytest.raises(VirtualPoolError, match="unmodified model"):
        load(apply(network(), IMAGES, ["0"]), saved)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(VirtualPoolError, match="no such file"):
        load(network(), tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(VirtualPoolError, match="holds no plan"):
        load(network(), tmp_path / "plain.safetensors")


def test_a_failure_while_writing_leaves_the_former_file(saved, monkeypatch):
    before = saved.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("virtualpool.storage.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save(network(), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_flipped_byte_is_refused_by_name(saved):
    content = saved.read_bytes()
    for place in [*range(0, len(content), 61), len(content) - 1]:
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        saved.write_bytes(changed)
        try:
            loaded = load(network(), saved)
        except VirtualPoolError as error:
            assert str(error).startswith(f"{saved}: ")  # noqa: PT017
        else:
            # Bytes between the parts of a safetensors file mean nothing.
            saved.write_bytes(content)
            expected = load(network(), saved).state_dict()
            assert all(torch.equal(expected[name], it) for name, it in loaded.state_dict().items())


def test_a_full_disk_is_one_line_with_the_name(saved, monkeypatch):
    def fail(*_, **__):
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("virtualpool.storage.save_file", fail)
    with pytest.raises(VirtualPoolError, match=f"^{saved}: cannot be written .*No space left"):
        save(network(), saved)


GOLDEN = Path(__file__).parent / "golden"


def golden_network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", ["fused", "unfused"])
def test_files_of_each_version_give_what_they_gave(name, version, tmp_path):
    folder = GOLDEN / f"version-{version}"
    expected = load_file(folder / "expected.safetensors")
    loaded = load(golden_network(), folder / f"{name}.safetensors")
    torch.testing.assert_close(loaded(expected["images"]), expected["output"])
    assert plan_of(loaded).names == ["5", "0", "3"]
    save(loaded, tmp_path / "again.safetensors")
    again = load(golden_network(), tmp_path / "again.safetensors")
    assert torch.equal(again(expected["images"]), loaded(expected["images"]))


@pytest.mark.parametrize("version", [1, 2])
def test_a_frontier_of_each_version_is_read(version):
    frontier = Frontier.load(GOLDEN / f"version-{version}" / "run" / "frontier.json")
    assert [point.plan.names for point in frontier.points] == [[], ["3"], ["3", "0"]]
    assert all(point.unfused is not None for point in frontier.points[1:])
    assert frontier.restore(golden_network(), "round-02")(torch.rand(1, 3, 12, 12)).shape == (1, 4)


class Gate(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class Norm(nn.BatchNorm2d):
    """One of the user's own, and yet PyTorch's."""


def saved_by_0_1(model, path):
    """A file as virtualpool 0.1 wrote it: without a hash, a schema, and the places of pools."""
    save(apply(model, IMAGES, "all"), path)
    header = header_of(path)
    sites = [{"name": site["name"], "factor": [2, 2]} for site in header["plan"]["sites"]]
    del header["sha256"], header["schema"]
    header["plan"] = {"version": 1, "sites": sites}
    save_file(load_file(path), path, metadata={"virtualpool": json.dumps(header)})


@pytest.mark.parametrize(
    "after", [[Gate()], [nn.BatchNorm2d(4), Gate()], [nn.Identity(), Gate()], [Gate(), nn.ReLU()]]
)
def test_of_version_1_places_that_are_not_sure_are_named(tmp_path, after):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), *after, nn.Conv2d(4, 4, 3), nn.ReLU()).eval()
    path = tmp_path / "old.safetensors"
    saved_by_0_1(model, path)
    with pytest.warns(UserWarning, match="pool of 0 elsewhere beside Gate") as told:
        loaded = load(model, path)
    assert [warning.filename for warning in told] == [__file__]
    save(loaded, path)
    load(model, path)  # says no more


@pytest.mark.parametrize(
    "after", [[], [nn.ReLU()], [Norm(4), nn.SiLU()], [nn.Dropout(), nn.GroupNorm(1, 4), nn.ReLU6()]]
)
def test_of_version_1_places_that_are_sure_are_not(tmp_path, after):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), *after, nn.MaxPool2d(2), Gate()).eval()
    saved_by_0_1(model, tmp_path / "old.safetensors")
    assert plan_of(load(model, tmp_path / "old.safetensors")).names == ["0"]


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a", "a.safetensors.bak", ".safetensors"])
def test_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(VirtualPoolError, match=r"give it a name that ends in \.safetensors"):
        save(network(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(60))
def test_whatever_becomes_of_a_file_it_is_refused_or_as_it_was(saved, seed):
    rng = random.Random(seed)
    if seed % 2:
        saved_by_0_1(network(), saved)  # which no hash holds
        text = fuzzing.rewritten(header_of(saved), rng)
        save_file(load_file(saved), saved, metadata={"virtualpool": text})
    else:
        saved.write_bytes(fuzzing.garbled(saved.read_bytes(), rng))
    try:
        loaded = load(network(), saved)
    except VirtualPoolError as error:
        assert str(error).startswith(f"{saved}: ")  # noqa: PT017
    else:
        expected = apply(network(), IMAGES, "all").state_dict()
        assert all(torch.equal(expected[name], it) for name, it in loaded.state_dict().items())
