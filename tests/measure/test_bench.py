import pytest
import torch
from torch import nn

from virtualpool.measure.bench import Bench, device_of, dtype_of

BENCH = Bench.of("cpu", None, channels_last=True)
IMAGES = torch.arange(2.0)[:, None, None, None].expand(2, 3, 4, 5)


def test_a_batch_repeats_the_images():
    assert BENCH.inputs(IMAGES, 5)[:, 0, 0, 0].tolist() == [0, 1, 0, 1, 0]
    assert BENCH.inputs(IMAGES, 1).shape == (1, 3, 4, 5)


def test_every_argument_is_repeated():
    inputs = {"images": IMAGES, "scale": torch.ones(2), "power": torch.tensor(3.0), "fast": True}
    repeated = BENCH.inputs(inputs, 3)
    assert repeated["images"].shape == (3, 3, 4, 5)
    assert repeated["scale"].shape == (3,)
    assert repeated["power"].shape == ()
    assert repeated["fast"] is True
    assert [x.shape[0] for x in BENCH.inputs((IMAGES, torch.ones(2, 7)), 4)] == [4, 4]


def test_a_list_is_a_batch_of_images():
    images = [torch.zeros(3, 4, 5), torch.ones(3, 6, 7)]
    assert [image.shape for image in BENCH.inputs(images, 3)] == [(3, 4, 5), (3, 6, 7), (3, 4, 5)]


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("given", [torch.channels_last, torch.contiguous_format])
def test_layout(channels_last, given):
    bench = Bench.of("cpu", None, channels_last)
    asked = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.zeros(2, 3, 4, 5).contiguous(memory_format=given)
    convolution = nn.Conv2d(3, 8, 3).to(memory_format=given)
    assert bench.inputs(images, None).is_contiguous(memory_format=asked)
    assert bench.inputs(images, 7).is_contiguous(memory_format=asked)
    assert next(bench.copy_of(convolution).parameters()).is_contiguous(memory_format=asked)


@pytest.mark.parametrize("model", [nn.Conv1d(2, 3, 1), nn.Conv3d(2, 3, 1), nn.Linear(2, 2)])
def test_other_models_have_one_layout(model):
    copied = dict(BENCH.copy_of(model).named_parameters())
    assert all(torch.equal(value, copied[name]) for name, value in model.named_parameters())


def test_only_floats_are_converted():
    bench = Bench.of("cpu", "float64", channels_last=False)
    image, label = bench.inputs((torch.zeros(1, 3), torch.zeros(1, dtype=torch.long)), None)
    assert (image.dtype, label.dtype) == (torch.float64, torch.long)


def test_where_a_model_is():
    assert dtype_of(nn.Linear(2, 2).bfloat16()) == "bfloat16"
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")
    assert (dtype_of(nn.ReLU()), device_of(nn.ReLU())) == ("float32", torch.device("cpu"))
