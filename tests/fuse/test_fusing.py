"""`fuse`: its results, its inputs, and the abilities that a fused model must keep."""

import copy
import logging
import shutil
from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx.passes.utils.source_matcher_utils import get_source_partitions
from torch.nn import functional

import virtualpool as vp
from tests.fuse import checks
from tests.fuse.checks import assert_same, fused_alike, pooled_and_fused, run
from tests.fuse.networks import with_statistics
from tests.shallow import network as network_of
from virtualpool.fuse import Report, report_of
from virtualpool.operator.pool import virtual_pool


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(2, 3, 33, 32)


def network() -> Any:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3, padding=1), with_statistics(nn.BatchNorm2d(8)), nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ]  # fmt: skip
    return nn.Sequential(*layers).eval()


@pytest.fixture
def pooled(images):
    return vp.apply(network(), images, "all")


def functions_of(model: Any) -> Any:
    return model.evaluation.names.values()


def test_nothing_is_interpolated_and_the_report_says_so(pooled, images):
    fused = vp.fuse(pooled, images)
    report = report_of(fused)
    assert report is not None
    assert report == Report(("0", "3", "6"), choices=report.choices)
    # The border of a 5x5 is mended, unless the full map is faster.
    assert str(report).splitlines() == [
        "3 sites fused; 0 maps are still interpolated",
        "  3: mended (0.5 ms; full: 1 ms)",
    ]
    assert virtual_pool not in functions_of(fused)
    assert virtual_pool in functions_of(pooled)


def test_it_is_still_the_users_model(pooled, images):
    fused = vp.fuse(pooled, images)
    assert isinstance(fused, nn.Sequential)
    assert list(fused.state_dict()) == list(pooled.state_dict())
    assert list(dict(fused.named_modules())) == list(dict(pooled.named_modules()))
    assert vp.plan_of(fused) == vp.plan_of(pooled)
    assert not {id(each) for each in fused.parameters()} & {
        id(each) for each in pooled.parameters()
    }


@pytest.mark.parametrize("training", [False, True])
def test_the_model_that_is_given_stays(pooled, images, training):
    pooled.train(training)
    before, inside = copy.deepcopy(pooled.state_dict()), set(vars(pooled))
    out, random = run(copy.deepcopy(pooled), images), torch.get_rng_state()
    vp.fuse(pooled, images)
    vp.fuse(pooled, images, training=True)
    assert torch.equal(torch.get_rng_state(), random)
    assert pooled.training == training
    assert set(vars(pooled)) == inside
    assert all(torch.equal(before[name], value) for name, value in pooled.state_dict().items())
    assert report_of(pooled) is None
    assert torch.equal(run(pooled, images), out)


@pytest.mark.parametrize("again", [{}, {"training": True}])
def test_fusing_twice_is_the_identity(pooled, images, again):
    fused = vp.fuse(pooled, images)
    other = vp.fuse(fused, images, **again)
    assert other is not fused
    assert report_of(other) == report_of(fused)
    assert torch.equal(run(other, images), run(fused, images))
    assert not vp.fuse(fused.train(), images).training


def test_more_sites_go_on_top_of_the_pooled_model_only(pooled, images):
    with pytest.raises(vp.VirtualPoolError, match="is fused"):
        vp.apply(vp.fuse(pooled, images), images, ["0"])


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (network(), torch.rand(1, 3, 8, 8), "no virtual pool, so there is nothing to fuse; pool"),
        (
            "pooled",
            torch.rand(1, 3, 8, 8).double(),
            r"not run on .* shape \(1, 3, 8, 8\)\).*dtype|type",
        ),
        ("pooled", torch.rand(1, 4, 8, 8), r"does not run on .* \(1, 4, 8, 8\)"),
        ("pooled", (), "does not run on the example inputs"),
        ("pooled", {"image": torch.rand(1, 3, 8, 8)}, "does not run on the example inputs"),
        ("compiled", torch.rand(1, 3, 8, 8), "wrapped in OptimizedModule"),
        ("weights", torch.rand(1, 3, 8, 8), r"torch\.nn\.Module is expected, not a OrderedDict"),
    ],
    ids=["not pooled", "dtype", "channels", "nothing", "unknown name", "wrapped", "no model"],
)
def test_what_cannot_be_fused_is_refused(pooled, model, inputs, message):
    models: Any = {"pooled": pooled, "weights": pooled.state_dict()}
    if model == "compiled":
        models[model] = torch.compile(pooled, backend="eager")
    with pytest.raises(vp.VirtualPoolError, match=message):
        vp.fuse(models[model] if isinstance(model, str) else model, inputs)


def test_a_model_in_training_mode_gives_one_in_eval_mode(pooled, images):
    fused = vp.fuse(pooled.train(), images)
    assert not any(module.training for module in fused.modules())
    torch.testing.assert_close(run(fused, images), run(pooled.eval(), images))


def test_in_training_mode_it_computes_what_the_pooled_model_does(pooled, images):
    fused = vp.fuse(pooled, images).train()
    assert torch.equal(run(fused, images), run(pooled.train(), images))
    for buffer, wanted in zip(
        fused.state_dict().values(), pooled.state_dict().values(), strict=True
    ):
        assert torch.equal(buffer, wanted)
    torch.testing.assert_close(run(fused.eval(), images), run(pooled.eval(), images))


@pytest.mark.parametrize("shape", [(1, 3, 20, 21), (5, 3, 48, 40), (0, 3, 20, 20), (2, 3, 8, 64)])
def test_other_sizes_and_batches(pooled, images, shape):
    other = torch.rand(shape)
    torch.testing.assert_close(run(vp.fuse(pooled, images), other), run(pooled, other))


def test_maps_of_one_row_and_one_column():
    chain = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 5, 2, 2), nn.ReLU(),
        nn.Conv2d(4, 4, 3, 2, 1), nn.MaxPool2d(3, 2, 1),
    ).double()  # fmt: skip
    others = [checks.images(*size) for size in [(1, 1), (1, 2), (2, 1), (1, 9), (6, 1), (2, 2)]]
    report = fused_alike(chain.eval(), checks.images(), others=others)
    assert report.fused == ("0", "2", "4")
    # Where a map has one row already on the example, it was no site, and is none now.
    fused_alike(chain, checks.images(6, 6), ["0"], others=others)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(images, dtype):
    """A model fused in another dtype, and one that changes its dtype then."""
    pooled = vp.apply(network().to(dtype), images.to(dtype), "all")
    changed = vp.fuse(vp.apply(network(), images, "all"), images).to(dtype)
    expected = run(copy.deepcopy(pooled).double(), images.double())
    tolerance = 10 * torch.finfo(dtype).eps
    for fused in (vp.fuse(pooled, images.to(dtype)), changed):
        out = run(fused, images.to(dtype))
        assert out.dtype == dtype
        assert (out.double() - expected).abs().max() < tolerance * expected.abs().max()


def test_autocast(pooled, images):
    fused = vp.fuse(pooled, images)
    with torch.autocast("cpu", torch.bfloat16):
        given, expected = run(fused, images), run(pooled, images)
        inside = vp.fuse(pooled, images)
    assert given.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(given, expected, rtol=0.05, atol=0.02)
    torch.testing.assert_close(run(inside, images), run(fused, images))


def test_inference_mode(images):
    with torch.inference_mode():
        pooled, fused, _ = pooled_and_fused(network(), images)
        torch.testing.assert_close(fused(images), pooled(images))
        fused.train().eval()
    torch.testing.assert_close(run(fused, images), run(pooled, images))


def test_channels_last_is_kept(images):
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
    model = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    last = images.contiguous(memory_format=torch.channels_last)
    pooled, fused, _ = pooled_and_fused(model, last)
    assert run(fused, last).is_contiguous(memory_format=torch.channels_last)
    assert run(fused, images).stride() == run(pooled, images).stride()
    kernels = [buffer for buffer in fused.buffers() if buffer.ndim == 4]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def exported(model: nn.Module, images: torch.Tensor) -> nn.Module:
    batch = torch.export.Dim("batch", min=1, max=64)
    return torch.export.export(model, (images,), dynamic_shapes=({0: batch},)).module()


def test_what_is_exported_has_no_transposed_convolution():
    chain = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    images = torch.rand(2, 3, 12, 13)
    fused = vp.fuse(vp.apply(chain.eval(), images, ["0"]), images)
    with torch.profiler.profile(acc_events=True) as run:  # or 2.11 warns
        expected = fused(images)
    called = [event.key for event in run.key_averages()]
    assert "aten::conv_transpose2d" in called
    program = torch.export.export(fused, (images,))
    assert "conv_transpose" not in str(program.graph)
    torch.testing.assert_close(program.module()(images), expected)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("pooling", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1)])
def test_what_is_exported_interpolates_nothing_whether_or_not_gradients_are_wanted(pooling, grad):
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), pooling, nn.Conv2d(4, 4, 3, padding=1)
    images = torch.rand(2, 3, 12, 14)
    fused = vp.fuse(vp.apply(nn.Sequential(*layers).eval(), images, ["0"]), images)
    with torch.set_grad_enabled(grad):
        program = torch.export.export(fused, (images,))
    assert "upsample" not in str(program.graph)
    torch.testing.assert_close(program.module()(images), fused(images))


def test_quantisers_find_the_convolutions_of_a_strict_export(pooled, images):
    """PT2E's quantisers look for the module that a graph's node was made from."""
    graph = torch.export.export(vp.fuse(pooled, images), (images,), strict=True).graph
    partitions = get_source_partitions(graph, [nn.Conv2d, functional.conv2d]).values()
    found = {node for each in partitions for partition in each for node in partition.nodes}
    convolutions = graph.find_nodes(op="call_function", target=torch.ops.aten.conv2d.default)
    assert len(convolutions) >= 3
    assert found >= set(convolutions)


def test_it_is_exported_with_any_batch(pooled, images):
    fused = vp.fuse(pooled, images)
    program, other = exported(fused, images), torch.rand(7, 3, 33, 32)
    torch.testing.assert_close(program(other), run(fused, other))


@pytest.mark.parametrize(("backend", "dynamic"), [("eager", False), ("aot_eager", None)])
def test_dynamo_traces_it_without_a_break(pooled, images, backend, dynamic):
    torch.compiler.reset()
    fused = vp.fuse(pooled, images)
    compiled: Any = torch.compile(fused, fullgraph=True, backend=backend, dynamic=dynamic)
    for other in (images, torch.rand(3, 3, 24, 29)):
        torch.testing.assert_close(run(compiled, other), run(fused, other))
        # With gradients it takes another way.
        compiled(other).sum().backward()
    assert vp.plan_of(compiled) == vp.plan_of(pooled)


@pytest.mark.skipif(not shutil.which("g++"), reason="Inductor needs a C++ compiler")
def test_it_compiles_to_machine_code(pooled, images):
    torch.compiler.reset()
    fused = vp.fuse(pooled, images)
    compiled: Any = torch.compile(fused, fullgraph=True)
    torch.testing.assert_close(run(compiled, images), run(fused, images))


Pair = namedtuple("Pair", ["maps", "extra"])


class Structures(nn.Module):
    """Takes and gives values in structures, in training others than in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, maps, scale=1.0, *, mask=None, twice: bool = False):
        value = functional.relu(self.first(maps["image"]))
        if mask is not None:
            value = value * mask
        out = self.second(value) * scale
        if self.training:
            return out
        return Pair({"out": out, "seen": [value, maps["image"]]}, (out + out if twice else out,))


@pytest.mark.parametrize(
    "inputs",
    [
        {"maps": {"image": checks.images()}},
        {"maps": {"image": checks.images()}, "scale": 2.0, "twice": True},
        {"maps": {"image": checks.images()}, "mask": checks.images(channels=1)},
        ({"image": checks.images()}, torch.tensor(3.0).double()),
    ],
)
def test_structures(inputs):
    pooled, fused, report = pooled_and_fused(Structures().double().eval(), inputs)
    assert not report.left
    given, keywords = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
    with torch.no_grad():
        out, expected = fused(*given, **keywords), pooled(*given, **keywords)
        assert type(out).__name__ == "Pair"
        assert_same(out._asdict(), expected._asdict())
        assert_same(fused.train()(*given, **keywords), pooled.train()(*given, **keywords))
    with pytest.raises(vp.VirtualPoolError, match="twice is 'often'"):
        fused.eval()(*given, **keywords | {"twice": "often"})


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), with_statistics(nn.BatchNorm2d(4))
        self.second = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.second(self.norm(self.first(x)).relu())


class Deciding(nn.Module):
    """Decides by values, around two parts that can be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = Body(), nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU())
        self.lost = Body()

    def forward(self, x):
        x = self.body(x)
        return self.head(x if x.sum() > -1e9 else self.lost(x))


class Starred(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.factor = Body(), nn.Parameter(torch.ones(()))

    def forward(self, *maps, **options):
        return self.body(maps[0]) * self.factor + options.get("more", 0)


def test_a_model_that_cannot_be_traced_is_fused_in_its_parts():
    report = fused_alike(Deciding().double().eval(), checks.images(), others=[checks.images(9, 9)])
    assert report.fused == ("body.first",)
    assert {each.sites for each in report.interpolations} == {("body.second",), ("head.0",)}


def test_what_was_pooled_where_it_could_be_traced_and_cannot_be_now():
    pooled = vp.apply(Deciding().double().eval(), checks.images(), "all")
    body = pooled.get_submodule("body")
    forward = body.forward
    body.forward = lambda x: forward(x) * 1
    fused = vp.fuse(pooled, checks.images())
    report = report_of(fused)
    assert report is not None
    assert "forward of its own" in report.left["body"]
    assert "body is as it was: has a forward" in str(report)
    assert_same(run(fused, checks.images()), run(pooled, checks.images()))


def test_any_number_of_arguments():
    pooled, fused, report = pooled_and_fused(Starred().double().eval(), checks.images())
    assert_same(run(fused, checks.images()), run(pooled, checks.images()))
    assert report.fused == ("body.first",) or "any number of arguments" in str(report)


class Cut(nn.Module):
    """A block that adds parts of its own to the parts of a map that it cuts, as in YOLOv8."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.inner = nn.ModuleList([nn.Conv2d(2, 2, 3, padding=1) for _ in range(2)])

    def forward(self, x):
        parts = list(self.before(x).relu().chunk(2, 1))
        parts.extend(layer(parts[-1]).relu() for layer in self.inner)
        return self.after(torch.cat(parts, 1)).relu()


class Head(nn.Module):
    """Decides by sizes that it remembers, so that it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(4, 2, 1) for _ in range(2)])
        self.size: Any = None

    def forward(self, maps):
        if self.size != maps[0].shape:
            self.size = tuple(maps[0].shape)
        found = [conv(map).flatten(2) for conv, map in zip(self.convs, maps, strict=True)]
        return torch.cat(found, 2), {"maps": maps}


class Yolo(nn.Module):
    """A detector as Ultralytics writes it: hands its arguments on, and keeps maps for later."""

    def __init__(self) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        down = nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU())
        self.layers = nn.ModuleList([stem, Cut(), down, Cut(), Head()])

    def forward(self, x, *arguments, **options):
        return self.predict(x, *arguments, **options)

    def predict(self, x, profile=False):
        assert not profile
        kept = []
        for layer in self.layers:
            x = layer([kept[1], x] if isinstance(layer, Head) else x)
            kept.append(x)
        return x

    def _apply(self, fn):  # pyright: ignore  # without the argument of today's PyTorch
        return super()._apply(fn)


def test_a_detector_that_hands_its_arguments_on_is_fused_as_a_whole():
    pooled, fused, report = pooled_and_fused(Yolo().double().eval(), checks.images())
    for images in (checks.images(), checks.images(36, 44)):
        assert_same(run(fused, images), run(pooled, images))
    assert "" not in report.left
    inner = ["before", "inner.0", "inner.1", "after"]
    blocks = {f"layers.{number}.{name}" for number in (1, 3) for name in inner}
    # The maps that the head takes are wanted in full.
    wanted = {"layers.1.after", "layers.3.after"}
    assert set(report.fused) == {"layers.0.0", "layers.2.0", *blocks} - wanted
    images = checks.images().float()
    assert_same(run(fused.float(), images), run(pooled.float(), images), 1e-5)
    with pytest.raises(vp.VirtualPoolError, match="options holds profile"):
        fused(checks.images(), profile=True)


def test_a_model_of_which_a_submodule_was_pooled():
    around: Any = nn.Sequential(Body(), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1)).double().eval()
    around[0] = vp.apply(around[0], checks.images(), "all")
    fused = vp.fuse(around, checks.images())
    assert vp.plan_of(fused).names == ["0.first", "0.second"]
    assert_same(run(fused, checks.images()), run(around, checks.images()))
    report = report_of(fused)
    assert report is not None
    assert report.fused == ("0.first",)


def test_a_model_of_which_a_submodule_was_fused():
    around: Any = nn.Sequential(Body(), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1)).double().eval()
    around[0] = vp.fuse(vp.apply(around[0], checks.images(), "all"), checks.images())
    fused = vp.fuse(around, checks.images())
    assert_same(run(fused, checks.images()), run(around, checks.images()))


def test_parts_that_are_called_by_themselves():
    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.head = Body(), nn.Conv2d(4, 4, 3, 2, 1)

        def forward(self, x):
            return self.head(self.features(x))

    pooled, fused, _ = pooled_and_fused(Features().double().eval(), checks.images())
    assert_same(run(fused.features, checks.images()), run(pooled.features, checks.images()))


def test_hooks_are_called():
    model = Deciding().double().eval()
    calls = []
    for module in (model, model.body, model.head):
        module.register_forward_hook(lambda module, given, out: calls.append(type(module).__name__))
    pooled, fused, _ = pooled_and_fused(model, checks.images())
    calls.clear()
    run(pooled, checks.images())
    expected = list(calls)
    calls.clear()
    run(fused, checks.images())
    assert calls == expected
    assert len(calls) == 3


def test_what_was_done_is_logged(pooled, images, caplog):
    caplog.set_level(logging.INFO, "virtualpool")
    vp.fuse(pooled, images)
    [message] = caplog.messages
    assert message.startswith("3 sites fused; 0 maps are still interpolated")


GRADIENTS = [("resnet18", 65), ("densenet121", 64), ("mobilenet_v2", 64), ("squeezenet1_1", 67)]


@pytest.mark.parametrize(("name", "size"), GRADIENTS)
def test_gradients_of_training_are_the_pooled_models(name, size):
    torch.manual_seed(0)
    model = network_of(name).double()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    # Batch norms over fewer values have gradients that rounding is seen in.
    example = torch.randn(4, 3, size, size, dtype=torch.float64)
    pooled = vp.apply(model, example, "all").train()
    fused = vp.fuse(pooled, example, training=True)
    assert fused.training
    for each in (pooled, fused):
        each(example).square().mean().backward()
    expected = {name: p.grad for name, p in pooled.named_parameters() if p.grad is not None}
    # Some gradients are zero but for rounding; the whole one's length counts.
    scale = torch.stack([gradient.norm() for gradient in expected.values()]).max()
    assert scale > 0
    for name, parameter in fused.named_parameters():
        if name in expected:
            assert parameter.grad is not None
            assert (parameter.grad - expected[name]).norm() < 1e-8 * scale
    for buffer, wanted in zip(fused.buffers(), pooled.buffers(), strict=True):
        torch.testing.assert_close(buffer, wanted)


def test_fused_for_training_it_fuses_in_eval_mode_as_well(pooled, images):
    fused = vp.fuse(pooled, images, training=True)
    assert not fused.training
    report = report_of(fused)
    # In training mode the first batch norm needs its map in full; it reads no recovered one.
    assert report is not None
    assert report.fused == ("0", "3", "6")
    torch.testing.assert_close(run(fused, images), run(pooled, images))
    with torch.no_grad():
        for model in (pooled, fused):
            model.get_parameter("3.weight").mul_(2)
    # Folded at every call, it needs no word of it.
    torch.testing.assert_close(run(fused, images), run(pooled, images))


class Dropping(nn.Module):
    """Dropout that changes its input, which is read in another way as well."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop = nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(1.0, inplace=True)
        self.second = nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        value = self.first(x).relu()
        return self.second(self.drop(value)) + self.second(value)


def test_dropout_in_place_drops_in_training_what_others_read():
    pooled = vp.apply(Dropping().double().train(), checks.images(), ["first"])
    fused = vp.fuse(pooled, checks.images(), training=True)
    assert_same(run(fused, checks.images()), run(pooled, checks.images()))
