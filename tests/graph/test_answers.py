"""Code's questions on shapes are answered from the example, and checked when the graph runs."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import virtualpool as vp
from virtualpool import VirtualPoolError

IMAGES = torch.rand(2, 3, 8, 8, dtype=torch.float64)


class Asking(nn.Module):
    """Runs `ask` on itself and its input, and on the map between its convolutions."""

    def __init__(self, ask: Callable[..., Any], between: Callable[..., Any]):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.ask, self.between = ask, between

    def body(self, x):
        return self.second(self.between(self, self.norm(self.first(x)).relu()))

    def forward(self, images):
        return self.body(self.ask(self, images))


def as_it_is(self, x):
    return x


def of_channels(self, x):
    if x.shape[1] not in (3, 4):
        raise ValueError("channels")
    return x


def of_axes(self, x):
    return x[None] if x.dim() == 3 else x


def of_the_length_of_the_shape(self, x):
    assert len(x.shape) == 4
    assert len(x.size()) == x.ndim
    return x


def of_each_length(self, x):
    lengths = [*x.shape]
    for length in x.shape[-2:]:
        x = x * (length / length)
    return x.reshape(lengths)


def of_evenness(self, x):
    if x.shape[-1] % 2:
        return nn.functional.pad(x, (0, 1))
    return x


def of_equal_sizes(self, x):
    other = x[..., :8]
    return x + other if x.shape[-2:] == other.shape[-2:] else x


def of_gradients(self, x):
    return x * 1 if not x.requires_grad else checkpoint(lambda it: it * 1, x, use_reentrant=False)


def of_dtype(self, x):
    return x.float() if x.dtype == torch.float16 or not x.is_floating_point() else x


def of_class(self, x):
    if isinstance(x, list | tuple):
        x = torch.cat(x, 1)
    assert isinstance(x, torch.Tensor)
    assert torch.is_tensor(x)
    assert isinstance(x.shape[1], int)
    return x


OTHERS: list[Any] = [
    # the question to the input, another input, and how it is refused
    (of_channels, IMAGES[:, :2], r"images.shape\[1\] == 3 is False here; the model was pooled"),
    (of_axes, IMAGES[0], r"images.dim\(\) == 3 is True here"),
    (of_the_length_of_the_shape, IMAGES[0], r"len\(images.shape\) == 4 is False here"),
    (of_each_length, IMAGES[0], r"len\(images.shape\) == 4 is False here"),
    (of_evenness, IMAGES[..., :7], r"images.shape\[-1\] % 2 is True here"),
    (of_equal_sizes, torch.cat([IMAGES, IMAGES], 3), r"images.shape\[.*\] == .* is False here"),
    (of_gradients, IMAGES.clone().requires_grad_(), "images.requires_grad is True here"),
    (of_dtype, IMAGES.half(), "images.dtype == torch.float16 is True here"),
    (of_class, [IMAGES[:, :1], IMAGES[:, 1:]], "images is a list; the model was pooled with"),
]
QUESTIONS = [ask for ask, *_ in OTHERS]


def network(ask=as_it_is, between=as_it_is) -> nn.Module:
    torch.manual_seed(0)
    return Asking(ask, between).double().eval()


@pytest.mark.parametrize("ask", QUESTIONS)
@pytest.mark.parametrize("place", ["ask", "between"])
def test_the_convolutions_beside_a_question_are_pooled_and_fused(ask, place):
    model = network(**{place: ask})
    assert [site.reason for site in vp.sites(model, IMAGES)] == [None, None]
    pooled = pickle.loads(pickle.dumps(vp.apply(model, IMAGES)))
    plain = vp.apply(network(between=as_it_is), IMAGES)
    with torch.no_grad():
        if ask is not of_equal_sizes:
            torch.testing.assert_close(pooled(IMAGES), plain(IMAGES))
        torch.testing.assert_close(vp.fuse(pooled, IMAGES)(IMAGES), pooled(IMAGES))


@pytest.mark.parametrize(("ask", "other", "message"), OTHERS)
@pytest.mark.parametrize("training", [False, True])
def test_another_answer_is_refused(ask, other, message, training):
    pooled = vp.apply(network(ask), IMAGES).train(training)
    assert pooled(IMAGES).shape == (2, 4, 8, 8)
    with pytest.raises(VirtualPoolError, match=message):
        pooled(other)


@pytest.mark.parametrize("ask", QUESTIONS)
def test_the_checks_compile_without_a_graph_break(ask):
    pooled = vp.apply(network(ask), IMAGES)
    torch._dynamo.reset()
    compiled: Any = torch.compile(pooled, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(IMAGES), pooled(IMAGES))


def of_values(self, x):
    return x if x.max() > 0 else -x


def of_a_number(self, x):
    return x if int(x.sum().item()) > 0 else -x


def of_the_device(self, x):
    return x.cpu() if x.is_cuda else x


def of_the_kind_of_device(self, x):
    return x.cpu() if x.device.type == "cuda" else x


def through_a_hooked_module(self, x):
    return self.hooked(x) if self.hooked(x).shape[1] == 3 else x


@pytest.mark.parametrize(
    "ask", [of_values, of_a_number, of_the_device, of_the_kind_of_device, through_a_hooked_module]
)
def test_what_depends_on_more_has_no_answer(ask):
    model = network(ask)
    model.hooked = nn.Identity()
    model.hooked.register_forward_hook(lambda *_: None)
    reasons = [site.reason for site in vp.sites(model, IMAGES)]
    assert all("cannot be traced" in str(reason) for reason in reasons)


def test_a_question_leaves_no_trace():
    model = network(between=of_axes).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    model.drop = nn.Dropout()
    vp.sites(model, IMAGES)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(not parameter.is_meta for parameter in model.parameters())


def test_questions_of_structured_inputs():
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, images, extra=None, *more):
            assert images["a"].shape == images["b"].shape
            assert more[0].dim() == 1
            return self.conv(images["a"] + images["b"])

    inputs = ({"a": IMAGES.float(), "b": IMAGES.float()}, None, torch.ones(1))
    pooled = vp.apply(Several().eval(), inputs)
    assert pooled(*inputs).shape == (2, 4, 8, 8)
    with pytest.raises(VirtualPoolError, match=r"== .* is False here"):
        pooled({"a": IMAGES.float(), "b": IMAGES.float()[..., :1]}, None, torch.ones(1))
