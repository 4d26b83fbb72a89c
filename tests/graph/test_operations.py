import pytest
import torch
from tests.norms import FrozenNorm
from torch import fx, nn
from torch.nn import functional
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import FrozenBatchNorm2d, StochasticDepth

from virtualpool.graph.channels import numbers_of_channels
from virtualpool.graph.operations import is_frozen_batch_norm, kind_of, module_kind


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class HardSwish(nn.Module):
    def forward(self, x):
        return x * functional.relu6(x + 3, inplace=True) / 6


class Mish(nn.Module):
    def forward(self, x):
        return x.mul(functional.softplus(x).tanh())


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.ReLU6()

    def forward(self, x):
        return x + self.inner(x)


class Star(nn.Module):
    """Of MetaFormer: an activation with two parameters."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()
        self.scale, self.shift = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.scale * self.relu(x) ** 2 + self.shift


class Scale(nn.Module):
    """A scale for each channel, or another shape."""

    def __init__(self, *shape, inplace=False):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.shape = shape
        self.inplace = inplace

    def forward(self, x):
        scale = self.scale.view(self.shape)
        return x.mul_(scale) if self.inplace else x * scale


class Sum(nn.Module):
    def forward(self, x, y):
        return torch.relu(x + y)


class Half(nn.Module):
    """Gated linear unit: its output has half of the channels."""

    def forward(self, x):
        left, right = x.chunk(2, 1)
        return left * torch.sigmoid(right)


class OverSpace(nn.Module):
    def forward(self, x):
        return torch.relu(x - x.mean((2, 3), keepdim=True))


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.reduce = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.reduce(x))


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("ramp", torch.arange(8.0))

    def forward(self, x):
        return torch.relu(x + self.ramp)


class Branching(nn.Module):
    def forward(self, x):
        return torch.relu(x) if x.sum() > 0 else x


class NormWithActivation(nn.BatchNorm2d):
    """As timm writes it."""

    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.SiLU()

    def forward(self, input):
        return self.act(super().forward(input))


class Named(nn.Identity):
    """Does what its base does: nothing."""


class Crop(nn.Identity):
    """Does what its base does not."""

    def forward(self, input):
        return input[..., 1:, 1:]


class InOne(nn.Module):
    """A norm and an activation in one module, as wrappers have them."""

    def __init__(self, norm, act):
        super().__init__()
        self.norm, self.act = norm, act

    def forward(self, x):
        return self.act(self.norm(x))


class Sequence(nn.Sequential):
    """As MONAI's ADN is one."""


class InFunctions(nn.BatchNorm2d):
    def forward(self, input):
        statistics = self.running_mean, self.running_var, self.weight, self.bias
        return functional.leaky_relu(functional.batch_norm(input, *statistics), 0.1)


class OfItsBase(nn.BatchNorm2d):
    """PyTorch's code, which asks for the number of axes, cannot be followed."""

    def forward(self, input):
        return functional.leaky_relu(super().forward(input), 0.1)


class FrozenAsksForGradients(FrozenNorm):
    """Its code cannot be followed: its kind shows in a run."""

    def forward(self, x):
        scale, shift = self.scale_and_shift()
        if x.requires_grad:
            return x * scale.to(x.dtype) + shift.to(x.dtype)
        return x.to(scale.dtype) * scale + shift


class FrozenOfPlainTensors(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.linspace(0.5, 1.5, 3).view(1, 3, 1, 1)

    def forward(self, x):
        return x * self.scale


class MixesChannels(FrozenNorm):
    def forward(self, x):
        return (x + x.flip(1)) * self.weight.view(-1, 1, 1)


class OwnStatistics(nn.Module):
    """Of each image, so it is no number for each channel."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3))

    def forward(self, x):
        return x * self.weight.view(-1, 1, 1) / x.std((2, 3), keepdim=True)


MODULES = {
    "activation": [
        nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(), nn.PReLU(3), nn.ELU(),
        nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.Sigmoid(), nn.Tanh(), nn.Mish(), nn.Softplus(),
        nn.Hardtanh(), nn.RReLU(), nn.Threshold(0, 0),
        Swish(), HardSwish(), Mish(), Nested(), NormWithActivation(3),
        Star(),
        InOne(nn.BatchNorm2d(3), nn.ReLU()), InOne(nn.GroupNorm(1, 3), Swish()),
        InOne(nn.Sequential(nn.Dropout(), nn.InstanceNorm2d(3)), nn.PReLU()),
        InOne(FrozenBatchNorm2d(3), nn.ELU()), InOne(FrozenNorm(3), nn.ReLU()),
        Sequence(nn.BatchNorm2d(3), nn.ReLU()), InFunctions(3), InFunctions(3).eval(), OfItsBase(3),
        Sequence(nn.InstanceNorm2d(3), nn.Dropout(), nn.PReLU()),
    ],
    "norm": [
        nn.BatchNorm2d(3), nn.SyncBatchNorm(3), nn.GroupNorm(1, 3), nn.InstanceNorm2d(3),
        nn.LocalResponseNorm(2), LayerNorm2d(3), FrozenBatchNorm2d(3),
        Scale(1, -1, 1, 1), Scale(3, 1, 1, inplace=True),
        FrozenNorm(3), FrozenAsksForGradients(3), FrozenAsksForGradients(3).double(),
        FrozenOfPlainTensors(), InOne(nn.BatchNorm2d(3), nn.Identity()),
        Sequence(nn.GroupNorm(1, 3), nn.Dropout()),
    ],
    "pool": [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.LPPool2d(2, 2)],
    "pass": [nn.Identity(), nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout(), Named()],
    "other": [
        nn.Conv2d(3, 3, 1), nn.Linear(3, 3), nn.Flatten(), nn.Upsample(scale_factor=2),
        nn.Softmax2d(), nn.GLU(1), StochasticDepth(0.5, "row"), nn.PixelShuffle(1),
        # These work on the last axes, as long as they were when the network was built.
        nn.LayerNorm([3, 8, 8]), nn.LayerNorm(8), nn.RMSNorm(8),
        Half(), OverSpace(), Gate(), Positions(), Branching(), nn.Sequential(),
        Scale(3), Sum(), Crop(),
        OwnStatistics(), MixesChannels(3), InOne(nn.BatchNorm2d(3), nn.MaxPool2d(2)),
        InOne(nn.BatchNorm2d(3), nn.Softmax2d()), Sequence(nn.Conv2d(3, 3, 1), nn.ReLU()),
    ],
}  # fmt: skip


class Traces(nn.Module):
    """Leaves its input behind, and counts."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.last = None

    def forward(self, x):
        self.last = x
        self.calls += 1
        return torch.relu(x)


class Uncentred(FrozenNorm):
    """Has a running mean, which it does not subtract."""

    def forward(self, x):
        return x * self.scale_and_shift()[0]


class OfParameters(FrozenNorm):
    """Its mean is trained, and nothing measures it."""

    def __init__(self, channels):
        super().__init__(channels)
        mean = self.running_mean
        del self.running_mean
        self.running_mean = nn.Parameter(mean)


class Counting(FrozenNorm):
    """Its running mean is a plain tensor, and its state changes at every call."""

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("calls", torch.zeros(()))
        mean = self.running_mean
        del self.running_mean
        self.running_mean = mean

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


FROZEN = [
    nn.BatchNorm2d(3), FrozenBatchNorm2d(1), FrozenBatchNorm2d(3), FrozenNorm(3),
    FrozenNorm(3).double(), FrozenAsksForGradients(3), Counting(3), nn.SyncBatchNorm(3),
    nn.InstanceNorm2d(3, track_running_stats=True),
]  # fmt: skip
NOT_FROZEN = [
    nn.BatchNorm2d(3, track_running_stats=False), nn.InstanceNorm2d(3), nn.GroupNorm(1, 3),
    NormWithActivation(3), Uncentred(3), OfParameters(3), Scale(3, 1, 1), nn.Identity(),
]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "is_frozen"),
    [*((each, True) for each in FROZEN), *((each, False) for each in NOT_FROZEN)],
    ids=lambda value: str(value) if isinstance(value, bool) else type(value).__name__,
)
def test_batch_norm_under_any_name(module, is_frozen):
    module.train()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    assert is_frozen_batch_norm(module) == is_frozen
    assert module.training
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("module", FROZEN, ids=lambda module: type(module).__name__)
def test_numbers_of_channels(module):
    like = module.eval().running_mean
    numbers = numbers_of_channels(module, like)
    assert numbers is not None
    scale, shift = (each.view(1, -1, 1, 1) for each in numbers)
    x = torch.randn(2, like.numel(), 4, 5).to(like)
    torch.testing.assert_close(module(x), x * scale + shift)


def test_to_look_at_a_module_changes_nothing_in_it():
    module = Traces()
    before = dict(vars(module))
    module_kind(module)
    assert vars(module) == before
    assert module.calls == 0


@pytest.mark.parametrize(
    ("module", "kind"),
    [(module, kind) for kind, modules in MODULES.items() for module in modules],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_modules(module, kind):
    assert module_kind(module) == kind


CODE = {
    "activation": [
        torch.relu, torch.relu_, functional.relu, functional.silu, functional.hardtanh,
        functional.leaky_relu_, torch.sigmoid, torch.clamp,
        lambda x: functional.relu(x, inplace=True), lambda x: functional.relu(input=x),
        lambda x: x.relu(), lambda x: x.relu_(), lambda x: x.clamp(min=0), lambda x: x.sigmoid(),
        lambda x: functional.prelu(x, torch.ones(1)),
    ],
    "norm": [
        lambda x: functional.batch_norm(x, torch.zeros(3), torch.ones(3)),
        lambda x: functional.group_norm(x, 1), functional.instance_norm,
    ],
    "pool": [
        lambda x: functional.max_pool2d(x, 2), lambda x: torch.max_pool2d(x, 2),
        lambda x: functional.avg_pool2d(x, 2), lambda x: functional.adaptive_avg_pool2d(x, 1),
        lambda x: x.mean([2, 3]), lambda x: x.mean((3, 2)), lambda x: x.mean((-2, -1), True),
        lambda x: x.mean(dim=[2, 3], keepdim=True), lambda x: x.mean(axis=(-1, 2)),
        lambda x: torch.mean(x, (2, 3)), lambda x: torch.mean(input=x, dim=[2, 3]),
    ],
    "pass": [functional.dropout, functional.dropout2d, lambda x: functional.dropout(x, 0.2)],
    "other": [
        lambda x: x + 1, lambda x: x.flatten(1), lambda x: x[..., ::2], torch.abs,
        lambda x: functional.interpolate(x, scale_factor=2),
        # Means, but not of each channel over the whole map.
        lambda x: x.mean(), torch.mean, lambda x: x.mean(1), lambda x: x.mean([3]),
        lambda x: x.mean((1, 2)), lambda x: x.mean((1, 2, 3)), lambda x: x.mean((0, 2, 3)),
        lambda x: x.mean(dim=1), lambda x: x.mean((2, x.ndim - 1)), lambda x: x.sum((2, 3)),
        lambda x: functional.layer_norm(x, [8]), lambda x: functional.softmax(x, 1),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("function", "kind"), [(function, kind) for kind, code in CODE.items() for function in code]
)
def test_functions_and_methods(function, kind):
    traced = fx.symbolic_trace(lambda x: function(x))
    (output,) = traced.graph.find_nodes(op="output")
    assert kind_of(output.args[0], nn.Module()) == kind
