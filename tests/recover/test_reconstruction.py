from typing import Any

import pytest
import torch
from tests.fuse.networks import with_statistics
from torch import Tensor, nn

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.graph.inputs import tensors
from virtualpool.recover import solver
from virtualpool.recover.reconstruction import reconstruct
from virtualpool.recover.samples import positions


class Residual(nn.Module):
    """Two blocks with batch norm, squeeze and excite, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.depth_norm = nn.BatchNorm2d(8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.stem(images)).relu()
        x = x + self.wide(x).relu()
        x = x + self.depth_norm(self.depth(x)).relu()
        x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        return self.head(x.mean((2, 3)))


class Pyramid(nn.Module):
    """A head that is called for each of two maps, as detectors' are."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images).relu()
        return [self.head(x).relu(), self.head(nn.functional.max_pool2d(x, 2)).relu()]


NETWORKS = {
    "chain": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(288, 4),
    ),
    "residual": Residual,
    "a head for two maps": Pyramid,
    "other paddings": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2, padding_mode="reflect"), nn.SiLU(),
        nn.Conv2d(8, 4, 3, stride=2, dilation=2),
    ),
}  # fmt: skip


def images(count: int = 24) -> Tensor:
    # Smooth, as photographs are: interpolating white noise recovers nothing.
    noise = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(noise, (12, 12), mode="bicubic")


def error(model: nn.Module, original: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        outputs = zip(tensors(model(x)), tensors(original(x)), strict=True)
        return sum(float((one - other).square().mean()) for one, other in outputs)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_the_outputs_come_nearer_to_the_original(make):
    original = make().eval()
    for module in original.modules():
        if isinstance(module, nn.BatchNorm2d):
            with_statistics(module)
    pooled = vp.apply(original, images(1))
    state = {name: value.clone() for name, value in pooled.state_dict().items()}
    solved = reconstruct(pooled, original, list(images().split(40)))
    assert error(solved, original, images()) < 0.95 * error(pooled, original, images())
    assert vp.plan_of(solved) == vp.plan_of(pooled)
    assert all(torch.equal(value, state[name]) for name, value in pooled.state_dict().items())
    fused = vp.fuse(solved, images(1))
    torch.testing.assert_close(fused(images()), solved(images()), rtol=1e-4, atol=1e-5)


def test_layers_before_the_first_site_stay():
    original = NETWORKS["chain"]().eval()
    solved = reconstruct(vp.apply(original, images(1), ["3"]), original, [images()])
    assert torch.equal(solved.get_parameter("0.weight"), original.get_parameter("0.weight"))
    assert not torch.equal(solved.get_parameter("3.weight"), original.get_parameter("3.weight"))
    assert not torch.equal(solved.get_parameter("6.weight"), original.get_parameter("6.weight"))


def test_the_same_images_give_the_same_weights():
    original = NETWORKS["residual"]().eval()
    pooled = vp.apply(original, images(1))
    first, second = (reconstruct(pooled, original, [images()]) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_half_precision_is_solved_in_double():
    original = NETWORKS["chain"]().eval().bfloat16()
    x = images().bfloat16()
    pooled = vp.apply(original, x[:1])
    solved = reconstruct(pooled, original, [x])
    assert error(solved, original, x) < error(pooled, original, x)
    assert solved.get_parameter("0.weight").dtype is torch.bfloat16


def test_forwards_that_do_not_fit_are_repeated():
    original = NETWORKS["residual"]().eval()
    pooled = vp.apply(original, images(1))
    batches = list(images().split(40))
    held = reconstruct(pooled, original, batches)
    for memory in (0.0, 1e-3):
        repeated = reconstruct(pooled, original, batches, memory_gib=memory)
        for one, other in zip(held.parameters(), repeated.parameters(), strict=True):
            assert torch.equal(one, other)


def test_a_solution_that_is_worse_on_held_out_images_is_not_taken():
    original = NETWORKS["chain"]().eval()
    noise = torch.randn(8, 3, 12, 12)  # fewer images than a layer has weights
    pooled = vp.apply(original, images(1), ["3"])
    solved = reconstruct(pooled, original, [*noise[:6].split(1), images(80), images(80)])
    assert error(solved, original, images(80)) <= error(pooled, original, images(80))


def test_labels_are_not_read():
    original = NETWORKS["chain"]().eval()
    pooled = vp.apply(original, images(1))
    one = reconstruct(pooled, original, [(images(), "labels")])
    other = reconstruct(pooled, original, [images()])
    assert torch.equal(one.get_parameter("0.weight"), other.get_parameter("0.weight"))


WRONG = {
    "no virtual pool": (lambda model, x: model, images, "no virtual pool"),
    "fused": (lambda model, x: vp.fuse(vp.apply(model, x), x), images, "is fused"),
    "one image": (vp.apply, lambda: images(1), "two images"),
    "not finite": (vp.apply, lambda: images() / 0, "not finite"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_reconstructed_is_refused(case):
    make, given, message = WRONG[case]
    original = NETWORKS["chain"]().eval()
    with pytest.raises(VirtualPoolError, match=message):
        reconstruct(make(original, images(1)), original, [given()])


def test_another_original_and_a_limit_below_zero_are_refused():
    original = NETWORKS["chain"]().eval()
    pooled = vp.apply(original, images(1))
    with pytest.raises(VirtualPoolError, match=r"of class Conv2d, has no layer '0'"):
        reconstruct(pooled, nn.Conv2d(3, 4, 1), [images()])
    with pytest.raises(VirtualPoolError, match="memory_gib is -1"):
        reconstruct(pooled, original, [images()], memory_gib=-1)


def test_a_search_recovers_by_reconstruction(tmp_path):
    original = NETWORKS["chain"]().eval()

    def evaluate(model: nn.Module) -> float:
        return -error(model, original, images())

    def rounds(finetune: Any, folder: str) -> vp.Frontier:
        return vp.search(
            original, images(1), evaluate=evaluate, finetune=finetune,
            rounds=[["0", "3"]], run_dir=tmp_path / folder, latency={"repeats": 1, "threads": 1},
        )  # fmt: skip

    frontier = rounds(vp.by_reconstruction(original, images().split(40)), "solved")
    before = rounds(lambda model, current: None, "plain")
    assert frontier.points[1].accuracy > before.points[1].accuracy


@pytest.mark.parametrize(
    ("count", "samples", "expected"),
    [(10, None, {48}), (2, None, {2 * 27, 2 * 72}), (2, 5, {5})],  # 27 and 72 unknowns
)
def test_few_images_solve_with_more_of_their_positions(monkeypatch, count, samples, expected):
    asked = set()

    def noted(size, count, generator):
        asked.add(count)
        return positions(size, count, generator)

    monkeypatch.setattr(solver, "positions", noted)
    original = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3)).eval()
    images = torch.rand(count, 3, 24, 24)
    pooled = vp.apply(original, images[:1])
    vp.reconstruct(pooled, original, images.split(1), samples=samples, steps=0)
    assert asked == expected
