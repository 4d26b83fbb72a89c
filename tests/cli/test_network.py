import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import detection

import virtualpool
from virtualpool import VirtualPoolError, models
from virtualpool.cli.network import (
    Network,
    classes_of,
    device_of,
    example_images,
    load_network,
)
from virtualpool.fuse import report_of
from virtualpool.models import all_cnn_c


@pytest.mark.parametrize(
    ("name", "size", "kind"),
    [
        ("torchvision:squeezenet1_1", 224, "SqueezeNet"),
        ("timm:test_resnet.r160_in1k", 160, "ResNet"),
        ("virtualpool:all_cnn_c", 32, "AllCNNC"),
    ],
)
def test_networks_by_name(name: str, size: int, kind: str) -> None:
    network = load_network(name)
    assert type(network.module).__name__ == kind
    assert network.size == size
    assert network.preprocessing is not None
    assert network.preprocessing.size == size
    assert not network.trained


def test_named_weights_are_loaded() -> None:
    network = load_network("virtualpool:all_cnn_c", "cifar10")
    assert network.trained
    trained = all_cnn_c("cifar10").state_dict()
    for name, weight in network.module.state_dict().items():
        assert torch.equal(weight, trained[name])


def test_random_weights_are_those_that_a_network_is_built_with() -> None:
    network = load_network("torchvision:squeezenet1_1", "random")
    assert not network.trained
    with pytest.raises(VirtualPoolError, match="'IMAGENET'; there are"):
        load_network("torchvision:squeezenet1_1", "IMAGENET")


def test_the_papers_detector_has_the_classes_of_voc(monkeypatch: pytest.MonkeyPatch) -> None:
    small = partial(models.faster_rcnn_vgg16, hidden=8)
    monkeypatch.setattr(models, "faster_rcnn_vgg16", small)
    network = load_network("virtualpool:faster_rcnn_vgg16")
    assert network.size == 600
    assert network.module.get_submodule("roi_heads.box_predictor.cls_score").out_features == 21


def test_the_classes_of_a_detector_are_those_of_its_weights() -> None:
    weights = detection.SSDLite320_MobileNet_V3_Large_Weights.DEFAULT
    assert classes_of(weights)[:2] == ["person", "bicycle"]
    assert classes_of(None) == []


def test_a_function_of_a_file(network: Path) -> None:
    assert isinstance(load_network(f"{network}:tiny").module, torch.nn.Sequential)


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_net.py").write_text("classes = 4\n", encoding="utf-8")
    (tmp_path / "net.py").write_text(
        "from torch import nn\nfrom neighbour_of_net import classes\n"
        "def build():\n    return nn.Linear(2, classes)\n",
        encoding="utf-8",
    )
    assert load_network(f"{tmp_path / 'net.py'}:build").module.out_features == 4


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_from_a_file(network: Path, tmp_path: Path, suffix: str) -> None:
    module = load_network(f"{network}:tiny").module
    state = {name: weight + 1 for name, weight in module.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded = load_network(f"{network}:tiny", str(path)).module
    assert all(torch.equal(loaded.state_dict()[name], weight) for name, weight in state.items())


def test_a_pooled_file_gives_the_pooled_network(network: Path, tmp_path: Path) -> None:
    original = load_network(f"{network}:tiny")
    pooled = virtualpool.apply(original.module, example_images(original, 16), ["3"])
    for model in (pooled, virtualpool.fuse(pooled, example_images(original, 16))):
        virtualpool.save(model, tmp_path / "pooled.safetensors")
        loaded = load_network(f"{network}:tiny", str(tmp_path / "pooled.safetensors")).module
        assert virtualpool.plan_of(loaded).names == ["3"]
        assert report_of(loaded) is None  # unfused, so that more sites can be pooled


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("resnet50", None, "a model is given as torchvision:NAME"),
        ("torchvision:resnet5", None, "no model 'resnet5'; the nearest are resnet"),
        ("torchvision:resnet18", "IMAGENET", "no weights 'IMAGENET'; there are: IMAGENET1K_V1"),
        ("timm:resnet_fifty", None, "timm has no model 'resnet_fifty'"),
        ("timm:resnet18", "IMAGENET1K_V1", "for timm give DEFAULT"),
        ("virtualpool:vgg", None, "there are virtualpool:all_cnn_c, virtualpool:faster_rcnn"),
        ("virtualpool:faster_rcnn_vgg16", "DEFAULT", "comes without weights such as 'DEFAULT'"),
        ("virtualpool:all_cnn_c", "imagenet", "no weights 'imagenet'; there are: cifar10"),
        ("missing.py:tiny", None, "missing.py: no such file"),
        ("FILE:tini", None, "no function 'tini'; the nearest is tiny"),
        ("FILE:needy", None, "needs classes; give a function that can be called without"),
        ("FILE:broken", None, " raised ValueError: no weights today"),
        ("FILE:not_a_network", None, "gave a dict; it must return a torch.nn.Module"),
        ("FILE:tiny", "cifar10", "for a network from a file, give the path of a state dict"),
        ("FILE:tiny", "missing.pt", "missing.pt: no such file of weights"),
    ],
)
def test_wrong_names_say_what_is_there(
    network: Path, name: str, weights: str | None, said: str
) -> None:
    with pytest.raises(VirtualPoolError) as refusal:
        load_network(name.replace("FILE", str(network)), weights)
    assert said in str(refusal.value)


@pytest.mark.parametrize("folder", ["", "TMP"])
def test_a_file_that_does_not_import_says_where(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(folder.replace("TMP", str(tmp_path))) / "cannot_import.py"
    path.write_text("import torch\n\nimport no_such_package\n", encoding="utf-8")
    with pytest.raises(VirtualPoolError, match=r"cannot_import.py, line 3 raised ModuleNotFound"):
        load_network(f"{path}:tiny")
    path.write_text("def tiny(:\n", encoding="utf-8")
    with pytest.raises(VirtualPoolError, match=r"cannot_import.py.* raised SyntaxError"):
        load_network(f"{path}:tiny")


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("cut.safetensors", b"\x80\x00\x00", "not a safetensors file"),
        ("cut.pt", b"PK\x03", "cannot be read as a state dict"),
        ("other.pt", {"conv.weight": torch.zeros(1)}, "these weights do not fit the model"),
    ],
)
def test_wrong_weights_are_refused(
    network: Path, tmp_path: Path, file: str, content: Any, said: str
) -> None:
    path = tmp_path / file
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(VirtualPoolError, match=said):
        load_network(f"{network}:tiny", str(path))


def test_a_missing_timm_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(VirtualPoolError, match=r"pip install 'virtualpool\[timm\]'"):
        load_network("timm:resnet18")


def test_weights_that_cannot_be_fetched_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", offline)
    with pytest.raises(VirtualPoolError, match=r"resnet18: its weights cannot be fetched"):
        load_network("torchvision:resnet18", "DEFAULT")


@pytest.mark.parametrize(
    ("size", "shape", "expected"),
    [(None, None, (1, 3, 32, 32)), (64, None, (1, 3, 64, 64)), (None, "2,1,8,9", (2, 1, 8, 9))],
)
def test_example_images(
    size: int | None,
    shape: str | None,
    expected: tuple[int, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    network = Network(torch.nn.Linear(1, 1), size=32)
    assert example_images(network, size, shape).shape == expected
    assert ("32x32 pixels are assumed" in capsys.readouterr().err) == (not size and not shape)


@pytest.mark.parametrize(("size", "shape"), [(None, "1,3,a,8"), (None, "0,3,8,8"), (8, "1,3,8,8")])
def test_wrong_shapes_of_images_are_refused(size: int | None, shape: str) -> None:
    with pytest.raises(VirtualPoolError, match="--input-shape"):
        example_images(Network(torch.nn.Linear(1, 1), size=32), size, shape)


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_devices_that_are_not_there_are_refused(name: str) -> None:
    with pytest.raises(VirtualPoolError, match=f"--device {name}"):
        device_of(name)


@pytest.mark.parametrize("name", ["own.py", "own:tiny", "own", "own.py:"])
def test_a_file_without_its_function_is_spelled_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").touch()
    monkeypatch.chdir(tmp_path)
    function = name.partition(":")[2] or "build"
    with pytest.raises(VirtualPoolError, match=rf"own\.py:{function}, with the function"):
        load_network(name)
