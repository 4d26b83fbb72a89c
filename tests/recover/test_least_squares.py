import pytest
import torch

from virtualpool.recover.least_squares import NormalEquations

CPU = torch.device("cpu")


def equations_of(inputs: torch.Tensor, outputs: torch.Tensor, parts: int = 3) -> NormalEquations:
    equations = NormalEquations(inputs.shape[0], inputs.shape[2], outputs.shape[2], CPU)
    for some, its in zip(inputs.chunk(parts, 1), outputs.chunk(parts, 1), strict=True):
        equations.add(some, its)
    return equations


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("has_shift", [True, False])
@pytest.mark.parametrize("ridge", [1e-3, 0.5])
def test_solved_as_one_least_squares_problem_with_the_ridge_as_rows(groups, has_shift, ridge):
    inputs = torch.randn(groups, 40, 5, dtype=torch.float64) + 1
    outputs = torch.randn(groups, 40, 2, dtype=torch.float64)
    before = torch.randn(groups, 2, 5, dtype=torch.float64)
    solved = equations_of(inputs, outputs).problem(has_shift=has_shift).solve(before, ridge)
    assert solved is not None
    for group in range(groups):
        x = inputs[group]
        moved = x - x.mean(0) * has_shift
        strength = (ridge * moved.square().sum(0).mean()).sqrt()
        ones = torch.ones(40, 1, dtype=torch.float64) * has_shift
        rows = torch.cat(
            [
                torch.cat([x, ones], 1),
                torch.cat([strength * torch.eye(5), torch.zeros(5, 1)], 1),
            ]
        )
        wanted = torch.cat([outputs[group], strength * before[group].T])
        expected = torch.linalg.lstsq(rows, wanted, driver="gelsd").solution
        torch.testing.assert_close(solved[0][group], expected[:5].T)
        torch.testing.assert_close(solved[1][group], expected[5] * has_shift)


def test_a_large_ridge_leaves_the_weights():
    before = torch.randn(1, 2, 5, dtype=torch.float64)
    equations = equations_of(torch.randn(1, 9, 5), torch.randn(1, 9, 2))
    solved = equations.problem(has_shift=True).solve(before, 1e9)
    assert solved is not None
    torch.testing.assert_close(solved[0], before, rtol=0, atol=1e-6)


def test_sums_of_processes_add_up():
    inputs, outputs = torch.randn(1, 12, 3).double(), torch.randn(1, 12, 2).double()
    whole = equations_of(inputs, outputs)
    parts = [equations_of(inputs[:, half], outputs[:, half]) for half in (slice(5), slice(5, 12))]
    for one, other, both in zip(parts[0].tensors, parts[1].tensors, whole.tensors, strict=True):
        torch.testing.assert_close(one + other, both)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("parts", [1, 7, 300])
def test_rows_are_summed_up_alike_however_many_come_at_once(parts, dtype):
    inputs, outputs = torch.randn(2, 2500, 3, dtype=dtype) + 1, torch.randn(2, 2500, 2, dtype=dtype)
    rows, gram, cross, *sums = equations_of(inputs, outputs, parts).tensors
    x, y = inputs.double(), outputs.double()
    for found, expected in zip(
        [rows, gram, cross, *sums],
        [torch.tensor([2500.0]), x.mT @ x, x.mT @ y, x.sum(1), y.sum(1), y.square().sum(1)],
        strict=True,
    ):
        torch.testing.assert_close(found, expected.double(), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("rows", [0.0, float("nan")])
def test_what_has_no_solution_gives_none(rows):
    equations = equations_of(torch.full((1, 6, 3), rows), torch.zeros(1, 6, 1))
    solved = equations.problem(has_shift=False).solve(torch.zeros(1, 1, 3), 1e-300)
    assert solved is None or rows == 0


@pytest.mark.parametrize("has_shift", [True, False])
@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_constant_input_keeps_its_weight_where_a_shift_says_the_same(constant, has_shift):
    inputs, before = torch.randn(1, 30, 3), torch.randn(1, 2, 3)
    inputs[..., 1] = constant
    wanted = torch.randn(1, 2, 3)
    equations = equations_of(inputs, inputs @ wanted.mT)
    solved = equations.problem(has_shift=has_shift).solve(before, 1e-6)
    assert solved is not None
    expected = before if has_shift or constant == 0 else wanted
    torch.testing.assert_close(solved[0][..., 1].float(), expected[..., 1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(solved[0][..., 0].float(), wanted[..., 0], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("constant", [0.0, 1e-20, 1.0, 1e4])
def test_inputs_that_are_all_constant_keep_all_weights(constant):
    before = torch.randn(1, 2, 3)
    outputs = torch.randn(1, 30, 2)
    equations = equations_of(torch.full((1, 30, 3), constant), outputs)
    problem = equations.problem(has_shift=True)
    for found in (problem.solve(before, 1e-3), problem.rescaled(before)):
        assert found is not None
        torch.testing.assert_close(found[0].float(), before)
        shift = outputs.double().mean(1) - constant * found[0].sum(2)
        torch.testing.assert_close(found[1], shift, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e5])
def test_a_large_mean_hides_no_variance(mean):
    inputs = torch.randn(1, 300, 3) + mean
    wanted = torch.randn(1, 2, 3)
    outputs = (inputs.double() - mean) @ wanted.double().mT
    solved = equations_of(inputs, outputs.float()).problem(has_shift=True).solve(0 * wanted, 1e-6)
    assert solved is not None
    torch.testing.assert_close(solved[0].float(), wanted, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("has_shift", [True, False])
def test_rescaled_weights_give_the_mean_and_variance_of_the_targets(has_shift):
    inputs, weight = torch.randn(2, 50, 4).double() + 1, torch.randn(2, 3, 4).double()
    outputs = torch.randn(2, 50, 3).double() * 3 + 2
    solved, shift = equations_of(inputs, outputs).problem(has_shift=has_shift).rescaled(weight)
    given = inputs @ solved.mT + shift.unsqueeze(1)
    if has_shift:
        torch.testing.assert_close(given.mean(1), outputs.mean(1))
        torch.testing.assert_close(given.var(1), outputs.var(1))
    torch.testing.assert_close(given.square().mean(1), outputs.square().mean(1))
    torch.testing.assert_close(solved / weight, (solved / weight)[..., :1].expand_as(weight))
