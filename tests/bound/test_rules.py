import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import FrozenBatchNorm2d

from tests.bound.exact import norms, operations_of
from tests.norms import FrozenNorm
from virtualpool.bound.rule import UnboundedError
from virtualpool.operator.pool import virtual_pool


def operation_of(step):
    [operation] = operations_of(step, example=EXAMPLE)
    return operation


EXAMPLE = torch.randn(1, 4, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CONVOLUTIONS = [
    nn.Conv2d(4, 2, 3, padding=1),
    nn.Conv2d(4, 2, 3, stride=2, bias=False),
    nn.Conv2d(4, 4, (3, 1), padding="same", groups=2),
    nn.Conv2d(4, 3, 3, padding=2, padding_mode="circular"),
    nn.Conv2d(4, 3, 3, padding=2, padding_mode="reflect"),
    nn.Conv2d(4, 3, 5, padding=3, padding_mode="replicate"),
]
LINEAR = [
    *CONVOLUTIONS,
    nn.BatchNorm2d(4),
    nn.Linear(9, 3),
    nn.AvgPool2d(3, 2, 1),
    nn.AdaptiveAvgPool2d(3),
    nn.Flatten(),
    nn.Dropout(),
    nn.Identity(),
    nn.ChannelShuffle(2),
    nn.PixelShuffle(2),
    nn.ReplicationPad2d(2),
    nn.Upsample(scale_factor=2, mode="bilinear"),
    lambda x: functional.avg_pool2d(x, 2),
    lambda x: functional.interpolate(x, (9, 9), mode="bilinear", align_corners=True),
    lambda x: functional.dropout(x, training=False),
    lambda x: virtual_pool(x, (15, 18)),
    lambda x: x.view(1, -1),
    lambda x: x[:, :2, ::2],
    lambda x: x.mean((2, 3)),
    lambda x: x.sum(1),
    lambda x: -x,
]


def name(step):
    # A function's has its address in it, and two processes must call a test the same.
    return str(step) if isinstance(step, nn.Module) else None


def drawn(step):
    """A copy with weights of the test's own random numbers, not of the ones at import."""
    step = copy.deepcopy(step)
    if isinstance(step, nn.Module):
        step.double().eval()
    if isinstance(step, (nn.Conv2d, nn.Linear)):
        step.reset_parameters()
    return step


@pytest.mark.parametrize("step", LINEAR, ids=name)
def test_no_less_than_the_exact_norms(step):
    step = drawn(step)
    if isinstance(step, nn.BatchNorm2d):
        nn.init.uniform_(step.weight, -3, 3)
    gain, (largest, norm) = operation_of(step).gain, norms(step, EXAMPLE)
    assert largest <= gain.largest * (1 + 1e-12)
    assert norm <= gain.norm * (1 + 1e-12)
    assert gain.norm <= 4 * norm  # no better than that with padding that repeats values


@pytest.mark.parametrize("convolution", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("kind", [nn.BatchNorm2d, FrozenBatchNorm2d, FrozenNorm])
def test_a_batch_norm_is_part_of_the_convolution_before_it(convolution, kind):
    norm = kind(convolution.out_channels)
    nn.init.uniform_(norm.weight, -3, 3)
    first = drawn(convolution)
    one, other = operations_of(first, norm.double().eval(), example=EXAMPLE)
    largest, exact = norms(lambda x: norm(first(x)), EXAMPLE)
    assert (other.gain.largest, other.gain.norm) == (1, 1)
    assert largest <= one.gain.largest
    assert exact <= one.gain.norm <= 4 * exact


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d(3, 1),
        nn.MaxPool2d((2, 3), (1, 2), dilation=(2, 2)),
        nn.MaxPool2d(2, 2, dilation=2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.AdaptiveMaxPool2d(3),
        nn.AdaptiveMaxPool2d((4, 9)),
        nn.AdaptiveMaxPool2d(1),
        lambda x: functional.max_pool2d(x, 3, 2),
        lambda x: torch.amax(x, (2, 3)),
    ],
    ids=name,
)
def test_a_maximum_of_windows(pool):
    gain = operation_of(pool).gain
    assert gain.largest == 1
    worst = 0.0
    for position in range(EXAMPLE[0, 0].numel()):
        # Of one value alone every window that it is in takes notice.
        changed = torch.zeros_like(EXAMPLE)
        changed[0, 0].view(-1)[position] = 1.0
        worst = max(worst, pool(changed).norm().item())
    assert gain.norm == pytest.approx(worst)
    for _ in range(20):
        one, other = torch.randn(2, *EXAMPLE.shape, dtype=torch.float64)
        assert (pool(one) - pool(other)).norm() <= gain.norm * (one - other).norm()


REFUSED = {
    "it divides by the spread": nn.BatchNorm2d(4, track_running_stats=False),
    "gives indices": nn.MaxPool2d(2, return_indices=True),
    "may be negative": lambda x: functional.interpolate(x, scale_factor=2.0, mode="bicubic"),
    "by chance": lambda x: functional.dropout(x),
    "no rule": nn.GroupNorm(2, 4),
    "has hooks": nn.ReLU(),
}


@pytest.mark.parametrize(("reason", "step"), REFUSED.items(), ids=list(REFUSED))
def test_refused(reason, step):
    if isinstance(step, nn.ReLU):
        step.register_forward_hook(lambda *_: None)
    if isinstance(step, nn.Module):
        step = step.double().eval()
    with pytest.raises(UnboundedError, match=reason):
        _ = operation_of(step).gain
