"""Fused networks on a GPU, if there is one; and the parts that can be tested without."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import resnet18

import virtualpool as vp

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def chain() -> nn.Module:
    """Every kind of convolution and pooling of an interpolated map; no normalisation."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


NETWORKS = {"chain": chain, "resnet18": lambda: resnet18(num_classes=8)}


@pytest.fixture(autouse=True)
def _no_tf32() -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    convolutions = cudnn.conv
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    yield
    convolutions.fp32_precision = before


def made(
    make: Callable[[], nn.Module], device: str, *, training: bool = False
) -> tuple[nn.Module, nn.Module, Tensor]:
    """A pooled network, the same fused, and images."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, 63, 64, device=device)
    model = make().to(device).eval()
    pooled = vp.apply(model, images, "all")
    return pooled, vp.fuse(pooled, images, training=training), images


class OnlyOn(TorchDispatchMode):
    """Refuses results on any other device."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = device

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else [result]:
            assert not isinstance(each, Tensor) or each.device.type == self._device, func
        return result


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_nothing_is_made_elsewhere_and_no_value_is_asked_for(make, training):
    # Tensors that only say where they are: asking one for its value is an error.
    _, fused, images = made(make, "cpu", training=training)
    fused.train(training)
    with FakeTensorMode() as mode:
        tensors = dict([*fused.named_parameters(), *fused.named_buffers()])
        there = {
            name: torch.empty_like(mode.from_tensor(each), device="cuda")
            for name, each in tensors.items()
        }
        given = torch.empty(images.shape, device="cuda")
        with OnlyOn("cuda"):
            assert functional_call(fused, there, (given,)).device.type == "cuda"


CASES: dict[str, tuple[torch.dtype, torch.dtype, float]] = {
    "float32": (torch.float32, torch.float32, 1e-5),
    "float16": (torch.float16, torch.float16, 1e-2),
    "bfloat16": (torch.bfloat16, torch.bfloat16, 5e-2),
    "float16 autocast": (torch.float32, torch.float16, 1e-2),
    "bfloat16 autocast": (torch.float32, torch.bfloat16, 5e-2),
}
"""The dtype of weights and images, the operations' dtype, and how much outputs may differ."""


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    difference = (found.double() - expected.double()).abs().max()
    assert difference <= tolerance * expected.double().abs().max()


@on_a_gpu
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
@torch.no_grad()
def test_the_same_outputs(make, case, layout):
    dtype, computed, tolerance = CASES[case]
    pooled, fused, images = made(make, "cuda")
    pooled, fused = (model.to(dtype).to(memory_format=layout) for model in (pooled, fused))
    images = images.to(dtype).contiguous(memory_format=layout)
    with torch.autocast("cuda", computed, enabled=computed is not dtype):
        assert_near(fused(images), pooled(images), tolerance)


@on_a_gpu
@torch.no_grad()
def test_fused_on_the_cpu_and_moved():
    pooled, fused, images = made(chain, "cpu")
    assert_near(fused.cuda()(images.cuda()), pooled.cuda()(images.cuda()), 1e-5)


@on_a_gpu
@pytest.mark.parametrize("mode", ["default", "max-autotune"])
@torch.no_grad()
def test_compiled(mode):
    pooled, fused, images = made(chain, "cuda")
    compiled = torch.compile(fused, mode=mode)
    for _ in range(3):  # a CUDA graph is captured in the second call
        assert_near(compiled(images), pooled(images), 1e-4)
    torch.compiler.reset()


def captured(run: Callable[[], Any]) -> torch.cuda.CUDAGraph:
    """A graph of a function's work; the function is warm."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


@on_a_gpu
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
@torch.no_grad()
def test_captured(make):
    pooled, fused, images = made(make, "cuda")
    outputs = []
    graph = captured(lambda: outputs.append(fused(images)))
    images.copy_(torch.randn_like(images))
    graph.replay()
    assert_near(outputs[-1], pooled(images), 1e-5)


def gradients(model: nn.Module, images: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(model(images).square().sum(), list(model.parameters())))


@on_a_gpu
@pytest.mark.parametrize("is_captured", [False, True])
def test_the_same_gradients(is_captured):
    pooled, fused, images = made(chain, "cuda", training=True)
    expected = gradients(pooled.train(), images)
    fused.train()
    found: list[list[Tensor]] = []
    if is_captured:
        captured(lambda: found.append(gradients(fused, images))).replay()
    else:
        found.append(gradients(fused, images))
    for one, other in zip(found[-1], expected, strict=True):
        assert_near(one, other, 1e-4)
