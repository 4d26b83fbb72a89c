"""A saved model comes back bit-equal, or is refused by name."""

import copy
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from virtualpool import VirtualPoolError, apply, load, plan_of, save


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
    save(apply(network(), "all", IMAGES), path)
    return path


@pytest.mark.parametrize("names", ["all", ["3"], ["3", "0"]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_comes_back_bit_equal(tmp_path, names, dtype):
    pooled = apply(network().to(dtype), names, IMAGES.to(dtype))
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


def test_an_unmodified_model(tmp_path):
    save(network(), tmp_path / "plain.safetensors")
    loaded = load(network(), tmp_path / "plain.safetensors")
    assert plan_of(loaded).names == []
    assert torch.equal(loaded(IMAGES), network()(IMAGES))


def test_tied_weights(tmp_path):
    model = network()
    model[3].bias = model[0].bias
    pooled = apply(model, "all", IMAGES)
    save(pooled, tmp_path / "tied.safetensors")
    loaded = load(model, tmp_path / "tied.safetensors")
    assert loaded[3].bias is loaded[0].bias  # pyright: ignore[reportIndexIssue]
    assert torch.equal(loaded(IMAGES), pooled(IMAGES))


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(VirtualPoolError, match=rf"{saved.name}: not a whole safetensors file"):
        load(network(), saved)


def rewritten(path, change):
    """The same file with another header."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["virtualpool"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header)
    save_file(tensors, path, {"virtualpool": json.dumps(header)})


def newer(header):
    header["plan"]["version"] = 99


def unknown_factor(header):
    header["plan"]["sites"][0]["factor"] = [3, 3]


def unknown_site(header):
    header["plan"]["sites"][0]["name"] = "features.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (newer, "version 99"),
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
        load(apply(network(), ["0"], IMAGES), saved)


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
