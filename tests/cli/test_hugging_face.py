"""Networks of Hugging Face, from a folder: the real package, where it is installed."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from virtualpool.cli.hugging_face import hugging_face, prepared
from virtualpool.cli.network import load_network
from virtualpool.errors import VirtualPoolError

CENTRE = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}


@pytest.mark.parametrize(
    ("said", "size", "resize"),
    [
        ({"size": {"shortest_edge": 256}, **CENTRE}, 224, 256),
        ({"size": {"shortest_edge": 64}, "crop_pct": 0.5}, 64, 128),
        ({"size": {"height": 224, "width": 224}, "do_center_crop": False}, 224, 224),
        ({"size": 240}, 240, 240),
    ],
)
def test_sizes_as_processors_say_them(said: dict[str, object], size: int, resize: int) -> None:
    found = prepared(said)
    assert found is not None
    assert (found.size, found.resize) == (size, resize)


def test_colours_as_processors_say_them() -> None:
    colours = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    found = prepared({"size": 32, "resample": 3, **colours})
    assert found is not None
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert found.interpolation == "bicubic"
    raw = prepared({"size": 32, "do_normalize": False, **colours})
    assert raw is not None
    assert (raw.mean, raw.std) == ((0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize("said", [{}, {"size": {"longest_edge": 800}}])
def test_without_a_size_nothing_is_said(said: dict[str, object]) -> None:
    assert prepared(said) is None


def test_what_is_neither_here_nor_fetched_may_be_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> None:
        raise OSError(f"no network for {name}")

    package = SimpleNamespace(AutoConfig=SimpleNamespace(from_pretrained=offline))
    monkeypatch.setitem(sys.modules, "transformers", package)
    with pytest.raises(VirtualPoolError, match=r"no network for nowhere\); .* hf:FOLDER"):
        load_network("hf:nowhere")


@pytest.mark.parametrize("name", ["./nets/none", "/none", "~/none", "runs/nets/none"])
def test_a_folder_that_is_not_there_is_not_asked_for_on_a_hub(name: str) -> None:
    with pytest.raises(VirtualPoolError, match=f"hf:{name}: no such folder"):
        hugging_face(name, trained=False)


def test_a_network_of_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    shape = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 4}
    made = transformers.ResNetForImageClassification(transformers.ResNetConfig(**shape)).eval()
    made.save_pretrained(tmp_path)
    images = torch.rand(2, 3, 32, 32)
    name = f"hf:{tmp_path}"
    assert load_network(name).size == 224  # nothing says how images are prepared
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.5).save_pretrained(
        tmp_path
    )
    found = load_network(name, "DEFAULT")
    assert found.preprocessing is not None
    assert (found.size, found.preprocessing.resize) == (64, 128)
    assert torch.equal(found.module(images).logits, made(images).logits)
    with pytest.raises(VirtualPoolError, match="give DEFAULT"):
        load_network(name, "IMAGENET1K_V1")
