"""A folded convolution in training against the same without anything made twice."""

import pytest
import torch
from torch import Tensor

from virtualpool.fuse.kernels.folded import folded_convolution
from virtualpool.fuse.kernels.folding import fold

CASES = {
    "3x3": ((3, 3), (1, 1), (1, 1), (1, 1), 1),
    "5x3, unlike axes": ((5, 3), (1, 2), (2, 1), (1, 1), 1),
    "dilated": ((3, 3), (1, 1), (1, 1), (2, 3), 1),
    "in groups": ((3, 3), (2, 2), (1, 1), (1, 1), 2),
}
BOTH = [True, False]


def operands(
    kernel=(3, 3), groups=1, layout=torch.contiguous_format, dtype=torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """A frame, a weight and a bias."""
    generator = torch.Generator().manual_seed(0)
    frame, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for shape in ((2, 4, 9, 10), (6, 4 // groups, *kernel), (6,))
    )
    frame, weight = (each.to(memory_format=layout).requires_grad_() for each in (frame, weight))
    return frame, weight, bias.requires_grad_()


def plain(frame, weight, bias, stride, padding, dilation, groups) -> Tensor:
    folded = fold(weight, padding, dilation)
    return torch.conv2d(frame, folded, bias, stride, 0, 1, groups)


@pytest.mark.parametrize("has_bias", BOTH)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"), CASES.values(), ids=CASES
)
def test_results_and_gradients_are_those_of_a_kept_kernel(
    kernel, stride, padding, dilation, groups, layout, has_bias
):
    frame, weight, bias = operands(kernel, groups, layout)
    given = frame, weight, bias if has_bias else None, stride, padding, dilation, groups
    results = folded_convolution(*given), plain(*given)
    torch.testing.assert_close(*results, rtol=0, atol=0)
    sources = [each for each in given[:3] if each is not None]
    gradients, expected = (torch.autograd.grad(result.sin().sum(), sources) for result in results)
    torch.testing.assert_close(gradients, expected, rtol=1e-12, atol=1e-12)


def test_gradients_of_gradients():
    frame, weight, bias = operands()
    small = frame[:1, :, :4, :4].detach().requires_grad_()

    def convolved(frame: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return folded_convolution(frame, weight, bias, (2, 2), (1, 1), (1, 1), 1)

    assert torch.autograd.gradcheck(convolved, (small, weight, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(convolved, (small, weight, bias), fast_mode=True)


def test_the_folded_kernel_is_not_kept():
    frame, weight, bias = operands()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        folded_convolution(frame, weight, bias, (1, 1), (1, 1), (1, 1), 1)
    assert {each.data_ptr() for each in kept} == {frame.data_ptr(), weight.data_ptr()}


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_only_what_is_wanted_has_a_gradient(wanted):
    frame, weight, bias = given = operands()
    for number, each in enumerate(given):
        each.requires_grad_(number == wanted)
    folded_convolution(frame, weight, bias, (1, 1), (1, 1), (1, 1), 1).sum().backward()
    assert [each.grad is not None for each in given] == [number == wanted for number in range(3)]


def test_in_autocast_it_computes_and_keeps_the_lower_precision():
    frame, weight, bias = operands(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        results = [
            form(frame, weight, bias, (1, 1), (1, 1), (1, 1), 1)
            for form in (folded_convolution, plain)
        ]
    assert results[0].dtype is torch.bfloat16
    torch.testing.assert_close(*results, rtol=0, atol=0)
    gradients, expected = (
        torch.autograd.grad(result.float().square().sum(), [frame, weight, bias])
        for result in results
    )
    assert [each.dtype for each in gradients] == [torch.float32] * 3
    torch.testing.assert_close(gradients, expected, rtol=0.02, atol=0.02)


def test_a_weight_changed_before_the_backward_pass_is_noticed():
    frame, weight, bias = operands()
    result = folded_convolution(frame, weight, bias, (1, 1), (1, 1), (1, 1), 1)
    with torch.no_grad():
        weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_compiled_it_is_the_same():
    frame, weight, bias = operands()
    compiled = torch.compile(folded_convolution, fullgraph=True, backend="aot_eager")
    results = [form(frame, weight, bias, (1, 1), (1, 1), (1, 1), 1) for form in (compiled, plain)]
    torch.testing.assert_close(*results)
    torch.compiler.reset()
