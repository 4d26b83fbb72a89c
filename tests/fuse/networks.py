"""Small networks as people write them and as nobody does, drawn by hypothesis.

A network is a list of steps. Each makes a new value of earlier ones, by a function or a module, and
all values stay at hand: so maps branch, join, are asked for in several ways and are outputs, too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import Permute

Step = tuple[Callable[..., Any], tuple[int, ...]]


class Network(nn.Module):
    """Steps, one after the other.

    Attributes:
        steps: the calls, and which of the values before each is its input; the images are value 0.
        outputs: which values are returned.
        form: how they are returned.
    """

    def __init__(self, steps: list[Step], outputs: list[int], form: str) -> None:
        super().__init__()
        self.steps = steps
        self.modules_of_steps = nn.ModuleList(
            step for step, _ in steps if isinstance(step, nn.Module)
        )
        self.outputs = outputs
        self.form = form

    def forward(self, images: Tensor) -> Any:
        values = [images]
        for step, sources in self.steps:
            values.append(step(*[values[source] for source in sources]))
        if self.form == "one":
            return values[self.outputs[-1]]
        if self.form == "tuple":
            return tuple(values[output] for output in self.outputs)
        return {f"value {output}": values[output] for output in self.outputs}


class _Growing:
    """A network that grows step by step, on example images that show which steps are possible."""

    def __init__(self, draw: DrawFn) -> None:
        self.draw = draw
        size = draw(st.tuples(st.integers(5, 20), st.integers(5, 20)))
        self.images = torch.rand(2, draw(st.sampled_from([2, 4])), *size, dtype=torch.float64)
        self.steps: list[Step] = []
        self.shapes: list[tuple[int, ...]] = [tuple(self.images.shape)]

    @property
    def last(self) -> int:
        return len(self.shapes) - 1

    def channels(self, value: int) -> int:
        return self.shapes[value][1]

    def size(self, value: int) -> Any:
        return self.shapes[value][2:]

    def map(self) -> int:
        """Any map, the latest more often."""
        maps = [value for value, shape in enumerate(self.shapes) if len(shape) == 4]
        return self.draw(st.sampled_from([*maps, *maps[-2:], *maps[-1:], maps[-1]]))

    def add(self, step: Callable[..., Any], *sources: int) -> int:
        """Adds a step if it can be done and gives no more than a small, finite map."""
        steps = [*self.steps, (step, sources)]
        network = Network(steps, [len(steps)], "one").double().eval()
        with torch.no_grad():
            try:
                result = network(self.images.clone())
            except (RuntimeError, ValueError):
                return sources[0]
        is_small = isinstance(result, Tensor) and 0 < result.numel() < 40_000
        if not is_small or result.shape[1:2] > (24,) or not result.isfinite().all():
            return sources[0]
        self.steps = steps
        self.shapes.append(tuple(result.shape))
        return self.last


def pairs(low: int, high: int) -> Any:
    """One number for both axes, or one for each."""
    numbers = st.integers(low, high)
    return st.one_of(numbers.map(lambda n: (n, n)), st.tuples(numbers, numbers))


KERNELS = st.one_of(st.sampled_from([(1, 1), (3, 3), (3, 3), (5, 5), (2, 2)]), pairs(1, 7))
STRIDES = st.one_of(st.sampled_from([(1, 1), (1, 1), (2, 2)]), pairs(1, 4))


def convolution(net: _Growing, source: int, channels: int | None = None) -> nn.Module:
    draw, given = net.draw, net.channels(source)
    padding: Any
    kernel, dilation = draw(KERNELS), draw(st.one_of(st.just((1, 1)), pairs(1, 3)))
    mode: Any = draw(st.sampled_from(["zeros"] * 6 + ["reflect", "circular", "replicate"]))
    usual = tuple((taps - 1) // 2 * spread for taps, spread in zip(kernel, dilation, strict=True))
    padding = draw(
        st.one_of(st.just(usual), st.just((0, 0)), st.sampled_from(["same", "valid"]), pairs(0, 3))
    )
    stride = (1, 1) if padding == "same" else draw(STRIDES)
    groups = draw(st.sampled_from([1, 1, 2, given]))
    channels = channels or (
        given if groups == given else draw(st.sampled_from([2, 4, 6])) * max(groups // 2, 1)
    )
    try:
        made = nn.Conv2d(
            given, channels, kernel, stride, padding, dilation, groups, draw(st.booleans()), mode
        )
    except ValueError:
        made = nn.Conv2d(given, channels, 3, 1, 1)
    return made


def with_statistics(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    channels = norm.num_features
    norm.running_mean = torch.linspace(-0.3, 0.4, channels)
    norm.running_var = torch.linspace(0.4, 1.7, channels)
    if norm.affine:
        nn.init.uniform_(norm.weight, 0.6, 1.4)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    return norm


def activation(net: _Growing) -> nn.Module:
    return net.draw(
        st.sampled_from(
            [
                nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardswish(inplace=True), nn.SiLU(),
                nn.LeakyReLU(0.2, inplace=True), nn.PReLU(), nn.Tanh(), nn.ELU(), nn.GELU(),
                nn.Threshold(0.1, 0.2, inplace=True), nn.Softplus(), nn.Identity(),
                nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(inplace=True)),
            ]
        )
    )  # fmt: skip


def block(net: _Growing, source: int, channels: int | None = None) -> int:
    """A convolution, with the operations that often follow it."""
    made = net.add(convolution(net, source, channels), source)
    follows = net.draw(st.sampled_from(["", "act", "act", "norm", "norm act", "norm act"]))
    if "norm" in follows:
        norm = nn.BatchNorm2d(net.channels(made), affine=net.draw(st.booleans()))
        made = net.add(with_statistics(norm), made)
    return net.add(activation(net), made) if "act" in follows else made


def residual(net: _Growing, source: int) -> int:
    inner = block(net, block(net, source), net.channels(source))
    return net.add(activation(net), net.add(lambda x, y: x + y, inner, source))


def dense(net: _Growing, source: int) -> int:
    return net.add(lambda x, y: torch.cat([x, y], 1), source, block(net, source))


def inverted_bottleneck(net: _Growing, source: int) -> int:
    given, steps = net.channels(source), net.draw(st.sampled_from([1, 1, 2]))
    wide = nn.Sequential(nn.Conv2d(given, 2 * given, 1), nn.ReLU6(inplace=True))
    depth = nn.Conv2d(2 * given, 2 * given, 3, steps, 1, groups=2 * given, bias=False)
    norm = with_statistics(nn.BatchNorm2d(2 * given))
    narrow = nn.Conv2d(2 * given, given, 1)
    made = net.add(nn.Sequential(wide, depth, norm, nn.Hardswish(), narrow), source)
    return net.add(torch.add, made, source)


def squeeze_excite(net: _Growing, source: int) -> int:
    channels = net.channels(source)
    pool = net.draw(
        st.sampled_from(
            [
                nn.AdaptiveAvgPool2d(1),
                lambda x: x.mean((2, 3), keepdim=True),
                nn.AdaptiveMaxPool2d(1),
            ]
        )
    )
    squeezed = net.add(pool, source)
    if net.size(squeezed) != (1, 1):
        return source
    inner = nn.Sequential(nn.Conv2d(channels, 2, 1), nn.ReLU(), nn.Conv2d(2, channels, 1))
    gate = net.add(nn.Sequential(inner, nn.Hardsigmoid()), squeezed)
    return net.add(lambda x, y: x * y, *net.draw(st.permutations([gate, source])))


def pooling(net: _Growing, source: int) -> int:
    draw = net.draw
    padding: Any
    kernel, stride = draw(pairs(1, 4)), draw(st.one_of(st.none(), STRIDES))
    if draw(st.booleans()):
        kernel, padding, stride = draw(
            st.sampled_from([((2, 2), (0, 0), (2, 2)), ((3, 3), (1, 1), (2, 2))])
        )
    else:
        padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    ceil = draw(st.sampled_from([False, False, True]))
    inner = draw(st.booleans())
    out = draw(st.sampled_from([1, (2, 3), (None, 2), 3]))
    name = draw(st.sampled_from(["max", "max", "average", "average", "adaptive", "other"]))
    pools: dict[str, list[Any]] = {
        "max": [
            nn.MaxPool2d(kernel, stride, padding, draw(pairs(1, 2)), ceil_mode=ceil),
            nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil),
            nn.MaxPool2d(kernel, stride, padding),
            lambda x: functional.max_pool2d(x, kernel, stride, padding),
            lambda x: functional.max_pool2d(x, kernel, stride, padding, return_indices=True)[0],
        ],
        "average": [
            nn.AvgPool2d(kernel, stride, padding, ceil, inner),
            nn.AvgPool2d(kernel, stride),
            nn.AvgPool2d(kernel, stride, divisor_override=3),
            lambda x: functional.avg_pool2d(x, kernel, stride, padding, count_include_pad=inner),
        ],
        "adaptive": [
            nn.AdaptiveAvgPool2d(out),
            nn.AdaptiveMaxPool2d(out),
            lambda x: functional.adaptive_avg_pool2d(x, out),
            lambda x: x.mean([-1, -2], keepdim=True),
            lambda x: torch.amax(x, (2, 3), keepdim=True),
        ],
        "other": [
            nn.LPPool2d(2, kernel, stride, ceil),
            nn.FractionalMaxPool2d(2, output_ratio=0.6),
            lambda x: functional.max_unpool2d(
                functional.max_pool2d(x, 2),
                functional.max_pool2d(x, 2, return_indices=True)[1],
                [2, 2],
                output_size=x.shape[2:],
            ),
        ],
    }
    return net.add(draw(st.sampled_from(pools[name])), source)


def _shuffle(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    split = x.view(batch, 2, channels // 2, height, width)
    return split.transpose(1, 2).contiguous().view(batch, -1, height, width)


def _relu_of_a_part(x: Tensor) -> Tensor:
    x[:, :1].relu_()
    return x * 1


def _changed_behind_a_view(x: Tensor) -> Tensor:
    flat = x.view(x.shape[0], -1)
    x.mul_(0.5)
    return x + flat.view(x.shape)


POINTWISE: list[Callable[[Tensor], Tensor]] = [
    torch.relu, functional.silu, functional.hardswish, torch.abs, torch.sigmoid, torch.neg,
    lambda x: x.abs().sqrt(), lambda x: 2 * x, lambda x: x / 2, lambda x: x + 1, lambda x: 1 - x,
    lambda x: x * x, lambda x: 1 / (x.abs() + 1), lambda x: x.clamp(-0.1, 0.3),
    lambda x: x.softmax(1), lambda x: x - x.mean((2, 3), keepdim=True),
    lambda x: x / x.std(), lambda x: x * x.sigmoid(), lambda x: torch.exp(-x.abs()),
    lambda x: torch.div(x, 0.1, rounding_mode="floor"), lambda x: x.pow(2),
    lambda x: torch.add(x, x, alpha=0.5), lambda x: x.float().to(x.dtype),
    lambda x: x + torch.arange(x.shape[-1]), lambda x: x * torch.ones(x.shape[1], 1, 1),
    lambda x: torch.where(x > 0, x, x / 3), torch.clone, lambda x: x.contiguous(),
    lambda x: x.detach(), lambda x: functional.dropout(x, training=False),
    lambda x: functional.normalize(x, dim=1), lambda x: x.cumsum(-1),
]  # fmt: skip

IN_PLACE: list[Callable[[Tensor], Tensor]] = [
    lambda x: x.relu_(), lambda x: functional.relu(x, inplace=True), lambda x: x.mul_(2),
    lambda x: x.add_(1), torch.relu_, lambda x: x.clamp_(min=0.1), lambda x: x.abs_().sqrt_(),
    lambda x: x.zero_() + 1, lambda x: x.view(-1).mul_(0.5).view(x.shape),
    _relu_of_a_part, _changed_behind_a_view,
]  # fmt: skip

CHANNELS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x.chunk(2, 1)[0], lambda x: x.chunk(2, dim=1)[1], lambda x: x.split(1, 1)[-1],
    lambda x: torch.split(x, [1, x.shape[1] - 1], 1)[1], lambda x: x[:, :2], lambda x: x[:, 1:],
    lambda x: x[:, ::2], lambda x: x[:1], lambda x: x[:, -1:], lambda x: x[:, [1, 0]],
    lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), lambda x: torch.cat([x, x], 1), _shuffle,
    lambda x: functional.channel_shuffle(x, 2), nn.ChannelShuffle(2), lambda x: x.flip(1),
    lambda x: torch.stack([x, -x], 1).flatten(1, 2), lambda x: x.unbind(1)[0].unsqueeze(1),
    lambda x: x.narrow(1, 0, 1), lambda x: x.roll(1, 1), lambda x: x.amax(1, keepdim=True),
]  # fmt: skip

SPACE: list[Callable[[Tensor], Tensor]] = [
    lambda x: x[..., ::2, ::2], lambda x: x[..., 1:, :], lambda x: x[:, :, :-1],
    lambda x: x.flip(-1),    lambda x: x.transpose(2, 3), lambda x: functional.pad(x, (1, 1, 1, 1)),
    lambda x: functional.pad(x, (1, 0, 2, 1), mode="reflect"), nn.ZeroPad2d((0, 1, 0, 1)),
    lambda x: functional.pad(x, (0, -1, -1, 0)), nn.ReplicationPad2d(1), nn.PixelShuffle(2),
    nn.PixelUnshuffle(2), lambda x: functional.interpolate(x, scale_factor=2.0),
    nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
    lambda x: functional.interpolate(x, (7, 9), mode="bilinear"),
    lambda x: x.reshape(x.shape[0], -1, x.size(2), x.size(-1)),
    lambda x: x.flatten(2).view(x.shape), lambda x: torch.cat([x, x], 2),
    lambda x: x.view(x.shape[0], x.shape[1], -1).view(x.size()), lambda x: x + x.flip(2),
    lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    lambda x: x.mT.contiguous().mT,
    lambda x: x.permute(0, 2, 3, 1), lambda x: x.squeeze(0), lambda x: x.expand(-1, -1, -1, -1),
]  # fmt: skip


def single(table: list[Callable[[Tensor], Tensor]]) -> Callable[[_Growing, int], int]:
    return lambda net, source: net.add(net.draw(st.sampled_from(table)), source)


JOINS: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda x, y: x + y, torch.sub, lambda x, y: x * y, torch.maximum, lambda x, y: x.add_(y),
    lambda x, y: torch.cat([x, y], 1), lambda x, y: torch.cat((y, x), dim=1),
    lambda x, y: x / (y.abs() + 1), lambda x, y: torch.cat([x, y], -3),
    lambda x, y: torch.lerp(x, y, 0.3), lambda x, y: torch.minimum(x, y) - y,
    lambda x, y: functional.interpolate(x, y.shape[2:]), lambda x, y: x * y.mean((2, 3), True),
    lambda x, y: x[:, :, : y.shape[2], : y.shape[3]],
]  # fmt: skip


def join(net: _Growing, source: int) -> int:
    return net.add(net.draw(st.sampled_from(JOINS)), source, net.map())


def normalisation(net: _Growing, source: int) -> int:
    channels = net.channels(source)
    norms = [
        with_statistics(nn.BatchNorm2d(channels)),
        nn.BatchNorm2d(channels, track_running_stats=False),
        nn.GroupNorm(1, channels),
        nn.InstanceNorm2d(channels, affine=True),
        nn.LocalResponseNorm(2),
        nn.LayerNorm(list(net.size(source))),
        nn.Dropout(),
        nn.Dropout2d(inplace=True),
        nn.Identity(),
    ]
    return net.add(net.draw(st.sampled_from(norms)), source)


def transposed(net: _Growing, source: int) -> int:
    taps, padding = net.draw(st.sampled_from([(2, 0), (3, 1), (4, 1)]))
    return net.add(nn.ConvTranspose2d(net.channels(source), 4, taps, 2, padding), source)


def shared(net: _Growing, source: int) -> int:
    """A convolution once more, or another one with its weight."""
    earlier = [step for step, _ in net.steps if isinstance(step, nn.Conv2d)]
    if not earlier:
        return source
    module: Any = net.draw(st.sampled_from(earlier))
    if module.in_channels != net.channels(source) or net.draw(st.booleans()):
        return net.add(module, source)
    other = nn.Conv2d(
        module.in_channels, module.out_channels, module.kernel_size, 1, 1, groups=module.groups
    )
    other.weight = module.weight
    return net.add(other, source)


def functional_convolution(net: _Growing, source: int) -> int:
    class Standardized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, net.channels(source), 3, 3))
            self.inside = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return self.inside(functional.conv2d(x, weight, stride=stride, padding=1))

    stride = net.draw(st.sampled_from([1, 2]))
    return net.add(Standardized(), source)


def permuted_block(net: _Growing, source: int) -> int:
    """The block of ConvNeXt, or one like it."""
    draw, channels = net.draw, net.channels(source)
    back = draw(st.sampled_from([(0, 3, 1, 2), (0, 3, 1, 2), (0, 2, 1, 3)]))
    within: list[nn.Module] = [
        nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU(), nn.Identity(),
        nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU()),
    ]  # fmt: skip
    made = net.add(convolution(net, source, channels), source)
    made = net.add(Permute([0, 2, 3, 1]), made)
    for _ in range(draw(st.integers(1, 3))):
        made = net.add(draw(st.sampled_from(within)), made)
    made = net.add(lambda x: x.permute(back), made)
    return net.add(torch.add, made, source)


KINDS: dict[str, Callable[[_Growing, int], int]] = {
    "block": block,
    "residual": residual,
    "dense": dense,
    "inverted bottleneck": inverted_bottleneck,
    "squeeze and excite": squeeze_excite,
    "pooling": pooling,
    "pointwise": single(POINTWISE),
    "in place": single(IN_PLACE),
    "channels": single(CHANNELS),
    "space": single(SPACE),
    "join": join,
    "normalisation": normalisation,
    "transposed": transposed,
    "shared": shared,
    "functional": functional_convolution,
    "permuted": permuted_block,
}
HEADS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x.mean((2, 3)), lambda x: torch.flatten(x, 1), lambda x: x.view(x.shape[0], -1),
    lambda x: x.flatten(1).sum(1), lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1),
    lambda x: x.reshape(x.size(0), -1), lambda x: x.sum((2, 3)), lambda x: x,
]  # fmt: skip


@st.composite
def networks(
    draw: DrawFn, most: int = 8, kinds: Sequence[str] = tuple(KINDS)
) -> tuple[Network, Tensor]:
    """A network in eval mode, in float64, and images for it."""
    torch.manual_seed(draw(st.integers(0, 5)))
    net = _Growing(draw)
    block(net, 0)
    kinds = [*kinds, *["block"] * 6, *["pooling"] * 2]
    for _ in range(draw(st.integers(1, most))):
        KINDS[draw(st.sampled_from(kinds))](net, net.map())
    for _ in range(draw(st.sampled_from([0, 1]))):
        net.add(draw(st.sampled_from(HEADS)), net.map())
    outputs = draw(st.lists(st.integers(1, net.last), min_size=1, max_size=3))
    form = draw(st.sampled_from(["one", "one", "tuple", "dict"]))
    network = Network(net.steps, [*outputs, net.last], form)
    return network.double().eval(), net.images


class Body(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, 3, padding=1, bias=False),
            with_statistics(nn.BatchNorm2d(4)),
            nn.ReLU(inplace=True),
            nn.Conv2d(4, 4, 5, stride=2, padding=2),
            with_statistics(nn.BatchNorm2d(4)),
            nn.ReLU(inplace=True),
        )


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = Body()
        self.last = nn.Conv2d(4, 2, 3, stride=2, padding=1)

    def forward(self, x):
        return self.last(self.body(x))


class Untraceable(Net):
    """Its body is a part by itself."""

    def forward(self, x):
        while x.abs().max() > 0.5:
            x = x / 2
        return super().forward(x)
