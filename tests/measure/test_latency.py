import copy
import json
import math
from typing import get_args

import pytest
import torch
from torch import nn
from torch._dynamo import config as dynamo
from torch._dynamo.eval_frame import _debug_get_cache_entry_list
from torch._dynamo.utils import counters
from torch._inductor import config as inductor

from virtualpool import VirtualPoolError
from virtualpool.measure import Latency, Setting, Speedup, can_compile, latency, macs
from virtualpool.measure.latency import STEADY, noise_in
from virtualpool.measure.prepared import Mode

SETTING = Setting("cpu", "Xeon", "float32", 1, 2, "eager", True, "2.9.0")
IMAGE = torch.zeros(1, 3, 8, 8)


class Log(list):
    """Copies of a model write to the log of the original."""

    def __deepcopy__(self, memo):
        return self


class Network(nn.Module):
    """Notes how it was called."""

    def __init__(self, channels=4):
        super().__init__()
        self.convolution = nn.Conv2d(3, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.calls = Log()

    def forward(self, image):
        self.calls.append(
            {
                "training": self.training,
                "grad": torch.is_grad_enabled(),
                "threads": torch.get_num_threads(),
                "shape": tuple(image.shape),
                "dtype": (image.dtype, self.convolution.weight.dtype),
                "channels_last": image.is_contiguous(memory_format=torch.channels_last),
            }
        )
        return self.norm(self.convolution(image)).relu()


class Plain(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        self.convolution = nn.Conv2d(3, channels, 3, padding=1)

    def forward(self, image):
        return self.convolution(image).relu().mean((2, 3))


@torch.library.custom_op("virtualpool_tests::shapeless", mutates_args=())
def shapeless(features: torch.Tensor) -> torch.Tensor:
    """An operator that does not tell the compiler its output's shape."""
    return features.clone()


class Stubborn(nn.Module):
    def forward(self, image):
        return shapeless(image)


@pytest.fixture(scope="module")
def compiler():
    if not can_compile():
        pytest.skip("no working C++ compiler")


def test_one_model_gives_a_latency_and_a_dict_gives_a_dict():
    single = latency(Network(), IMAGE, repeats=2)
    assert isinstance(single, Latency)
    several = latency({"b": Network(8), "a": Network()}, IMAGE, repeats=2)
    assert list(several) == ["b", "a"]
    assert several["a"].setting == several["b"].setting == single.setting
    assert all(len(result.samples_ms) == 2 for result in [single, *several.values()])


def test_a_slower_model_takes_longer():
    slow = nn.Sequential(*(nn.Conv2d(3, 3, 5, padding=2) for _ in range(40)))
    models = {"fast": slow[:2], "slow": slow}
    measured = latency(models, torch.zeros(1, 3, 32, 32), threads=1, repeats=3)
    assert measured["fast"].speedup_over(measured["slow"]).median > 2
    assert measured["slow"].speedup_over(measured["fast"]).median < 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, "float64"])
def test_dtype(dtype):
    model = Network()
    setting = latency(model, IMAGE, dtype=dtype, repeats=1).setting
    expected = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert setting.dtype == str(expected).removeprefix("torch.")
    assert {call["dtype"] for call in model.calls} == {(expected, expected)}


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        ({}, {"training": False, "grad": False, "shape": (1, 3, 8, 8), "channels_last": True}),
        ({"batch": 5}, {"shape": (5, 3, 8, 8)}),
        ({"threads": 1}, {"threads": 1}),
        ({"channels_last": False}, {"channels_last": False}),
    ],
)
def test_how_the_model_is_called(arguments, seen):
    model = Network()
    setting = latency(model, IMAGE, repeats=1, **arguments).setting
    assert model.calls
    assert all(seen.items() <= call.items() for call in model.calls)
    assert setting.batch == arguments.get("batch", 1)
    assert setting.threads == arguments.get("threads", torch.get_num_threads())
    assert setting.channels_last == arguments.get("channels_last", True)


def test_the_setting_names_the_machine():
    setting = latency(Network(), IMAGE, repeats=1).setting
    assert (setting.device, setting.mode, setting.torch) == ("cpu", "eager", torch.__version__)
    assert setting.device_name


def assert_nothing_leaks(model, measure):
    """The model, torch's threads, its grad mode, its random numbers and its settings."""
    state, image = copy.deepcopy(model.state_dict()), IMAGE.clone()
    flags = [module.training for module in model.modules()]
    layout = model.convolution.weight.stride()

    def surroundings():
        return [
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            inductor.freezing,
            dynamo.recompile_limit,
            torch.get_rng_state().tolist(),
        ]

    before = surroundings()
    measure()
    assert surroundings() == before
    assert [module.training for module in model.modules()] == flags
    assert model.convolution.weight.stride() == layout
    assert model.convolution.weight.dtype == torch.float32
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(IMAGE, image)


def test_eager_leaves_nothing_behind():
    model = Network()
    model.norm.eval()
    assert_nothing_leaks(
        model, lambda: latency(model, IMAGE, dtype="float64", threads=1, repeats=1)
    )


def test_compiled_leaves_nothing_behind(compiler):
    # More models of one class than Dynamo keeps results of, and shapes that would turn dynamic.
    models = {str(channels): Plain(channels) for channels in range(3, 12)}
    measured = {}

    def measure():
        measured.update(latency(models, IMAGE, mode="compiled", threads=1, repeats=1))

    before = counters["stats"]["unique_graphs"]
    assert_nothing_leaks(models["3"], measure)
    assert counters["stats"]["unique_graphs"] == before + len(models)
    assert not _debug_get_cache_entry_list(Plain.forward.__code__)
    assert {result.setting.mode for result in measured.values()} == {"compiled"}


def test_no_compiler_is_an_error_that_says_what_to_do(compiler):
    can_compile.cache_clear()
    try:
        with inductor.patch({"cpp.cxx": ("/no/such/compiler",)}):
            assert not can_compile()
            with pytest.raises(VirtualPoolError, match=r'C\+\+ compiler.*mode="eager"'):
                latency(Plain(31), IMAGE, mode="compiled", repeats=1)
    finally:
        can_compile.cache_clear()


def test_a_model_that_cannot_be_compiled_is_named(compiler):
    with pytest.raises(VirtualPoolError, match=r'stubborn cannot be compiled.*mode="eager"'):
        latency({"stubborn": Stubborn()}, IMAGE, mode="compiled", repeats=1)


def test_a_model_can_be_given_inputs_of_its_own():
    model, other = Network(), Network()
    measured = latency({"a": model, "b": (other, IMAGE[..., ::2, ::2])}, IMAGE, batch=2, repeats=1)
    assert model.calls[0]["shape"] == (2, 3, 8, 8)
    assert other.calls[0]["shape"] == (2, 3, 4, 4)
    assert measured["a"].setting == measured["b"].setting
    alone = latency({"b": (Network(), IMAGE)}, None, repeats=1)
    assert list(alone) == ["b"]


def test_fewer_rounds_when_the_time_is_spent():
    measured = latency({"a": Network(), "b": Network()}, IMAGE, repeats=1000, duration_s=1e-9)
    assert [len(result.samples_ms) for result in measured.values()] == [3, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "fast"}, "mode 'fast' is not known; give one of eager, .*cudagraph"),
        ({"repeats": 0}, "repeats is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"threads": -1}, "threads is -1"),
        ({"duration_s": 0.0}, "duration_s is 0"),
        ({"duration_s": math.nan}, "duration_s is nan"),
        ({"dtype": torch.int8}, "dtype int8 .* float16, bfloat16, float32, float64"),
        ({"device": "cuda:77"}, "Device cuda:77 cannot be used here"),
        ({"mode": "cudagraph"}, "the model is on cpu, and CUDA graphs need a CUDA device"),
        ({"device": "teapot"}, "Device teapot cannot be used here"),
        ({"device": "meta"}, r"Device meta cannot be used here \(it keeps no values\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(VirtualPoolError, match=message):
        latency(Network(), IMAGE, **arguments)


@pytest.mark.parametrize("measure", [macs, latency])
def test_inputs_without_an_image(measure):
    with pytest.raises(VirtualPoolError, match="hold no image to measure with"):
        measure(Network(), IMAGE[:0])


def test_no_models():
    with pytest.raises(VirtualPoolError, match="no model to measure"):
        latency({}, IMAGE)


def test_inputs_that_do_not_fit():
    with pytest.raises(VirtualPoolError, match=r"\(1, 4, 8, 8\)"):
        latency(Network(), torch.zeros(1, 4, 8, 8))


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ((12.3,), "12.3 ms (12.3 to 12.3, 1 run; "),
        ((11.9, 12.3, 12.9), "12.3 ms (12.1 to 12.6, 3 runs; "),
        ((1234.0, 1250.0), "1242 ms (1238 to 1246, 2 runs; "),
        ((0.0123, 0.0127), "0.0125 ms (0.0124 to 0.0126, 2 runs; "),
    ],
)
def test_a_latency_as_one_line(samples, text):
    assert str(Latency(samples, SETTING)) == f"{text}{SETTING})"


def test_quartiles():
    measured = Latency((5.0, 1.0, 3.0, 2.0, 4.0), SETTING)
    assert (measured.lower_ms, measured.median_ms, measured.upper_ms) == (2.0, 3.0, 4.0)


def test_speedup_pairs_the_samples():
    # The machine got slower and slower: only the ratios of neighbours are steady.
    fast, slow = Latency((1.0, 10.0, 100.0), SETTING), Latency((2.0, 20.0, 200.0), SETTING)
    assert fast.speedup_over(slow) == Speedup(2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Latency((1.0,), SETTING), "runs 2 and 1"),
        (
            Latency((1.0, 1.0), Setting("cpu", "Xeon", "float32", 8, 1, "eager", True, "2.9.0")),
            "batch 1 and 8, threads 2 and 1",
        ),
    ],
)
def test_latencies_that_were_measured_otherwise_are_not_compared(other, message):
    with pytest.raises(VirtualPoolError, match=message):
        Latency((1.0, 2.0), SETTING).speedup_over(other)


def test_unsteady_speedups_are_named():
    steady, unsteady = Speedup(2.0, 1.9, 1.9 * STEADY), Speedup(2.0, 1.9, 1.9 * STEADY + 0.01)
    assert noise_in({"fused": steady}) == ""
    said = noise_in({"fused": steady, "unfused": unsteady, "half resolution": unsteady})
    assert "the speed-ups of unfused, half resolution have quartiles more than 1.15x" in said


@pytest.mark.parametrize("value", [Latency((1.0, 2.5), SETTING), Speedup(1.5, 1.4, 1.6), SETTING])
def test_json_round_trip(value):
    assert type(value).from_json(json.loads(json.dumps(value.to_json()))) == value


@pytest.mark.parametrize("kind", [Latency, Speedup, Setting])
@pytest.mark.parametrize("value", [None, [], {}, {"samples_ms": [1.0], "setting": {}, "more": 1}])
def test_wrong_json(kind, value):
    with pytest.raises(VirtualPoolError, match=f"Not a {kind.__name__.lower()}"):
        kind.from_json(value)


def test_a_latency_with_a_broken_setting():
    with pytest.raises(VirtualPoolError, match=r"Not a latency.*`device_name` - at `\$.setting`"):
        Latency.from_json({"samples_ms": [1.0], "setting": {"device": "cpu"}})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("mode", get_args(Mode))
def test_on_a_gpu(mode):
    measured = latency(Network(), IMAGE, mode=mode, device="cuda", repeats=1)
    assert measured.setting.device == "cuda:0"
    assert measured.median_ms > 0
    torch.compiler.reset()
