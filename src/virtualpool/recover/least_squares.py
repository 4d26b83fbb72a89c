"""The weights of a layer that come nearest to given outputs, in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

_ROWS_AT_ONCE = 1024
"""Rows that wait to be summed up together: a Gram matrix is large beside a few rows."""


class NormalEquations:
    """The least-squares problem of one layer, summed up batch by batch.

    Its size is one Gram matrix a group, however many rows are added. Sums of several
    processes add up: `tensors` are all that there is.

    Args:
        groups: groups of the layer; each is a problem of its own.
        unknowns: weights of one output, that is inputs of a group times taps of the kernel.
        outputs: outputs of a group.
        device: where the sums are kept, in float64.
    """

    def __init__(self, groups: int, unknowns: int, outputs: int, device: torch.device) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self._rows = zeros(1)
        self._gram = zeros(groups, unknowns, unknowns)
        self._cross = zeros(groups, unknowns, outputs)
        self._inputs = zeros(groups, unknowns)
        self._outputs = zeros(groups, outputs)
        self._squares = zeros(groups, outputs)
        self._waiting: list[tuple[Tensor, Tensor]] = []

    @property
    def tensors(self) -> list[Tensor]:
        """All sums; the first one is the number of rows."""
        self._sum_up()
        sums = [self._rows, self._gram, self._cross, self._inputs, self._outputs]
        return [*sums, self._squares]

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Adds rows.

        Args:
            inputs: (groups, rows, unknowns), the layer's inputs.
            outputs: (groups, rows, outputs), the outputs that it should have.
        """
        self._waiting.append((inputs, outputs))
        if sum(inputs.shape[1] for inputs, _ in self._waiting) >= _ROWS_AT_ONCE:
            self._sum_up()

    def problem(self, *, has_shift: bool) -> "Problem":
        """The problem of all rows. It takes the sums over, so it is the last that is asked for.

        Args:
            has_shift: whether the layer's output has a shift.
        """
        rows, gram, cross, inputs, outputs, squares = self.tensors
        mean_input, mean_output = inputs / rows * has_shift, outputs / rows * has_shift
        if has_shift:
            count = float(rows)
            gram.baddbmm_(mean_input.unsqueeze(2), mean_input.unsqueeze(1), alpha=-count)
            cross.baddbmm_(mean_input.unsqueeze(2), mean_output.unsqueeze(1), alpha=-count)
            squares = squares - rows * mean_output.square()
        return Problem(rows, gram, cross, squares, mean_input, mean_output)

    def _sum_up(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not sum(inputs.shape[1] for inputs, _ in waiting):
            return
        inputs, outputs = (torch.cat(each, 1) for each in zip(*waiting, strict=True))
        if inputs.dtype is not torch.float64:
            inputs, outputs = inputs.float(), outputs.float()
        count = inputs.shape[1]
        # Products about the mean: in float32, a large mean's would hide the variance.
        means = [each.mean(1, dtype=torch.float64) for each in (inputs, outputs)]
        x, y = (
            each - mean.unsqueeze(1).to(each)
            for each, mean in zip((inputs, outputs), means, strict=True)
        )
        mean, its = means
        self._rows += count
        self._gram += x.mT @ x
        self._gram.baddbmm_(mean.unsqueeze(2), mean.unsqueeze(1), alpha=count)
        self._cross += x.mT @ y
        self._cross.baddbmm_(mean.unsqueeze(2), its.unsqueeze(1), alpha=count)
        self._inputs += count * mean
        self._outputs += count * its
        self._squares += y.square().sum(1, dtype=torch.float64) + count * its.square()


@dataclass(frozen=True)
class Problem:
    """A least-squares problem about the means, which are zero where there is no shift.

    Attributes:
        rows: their number, of shape (1,).
        gram: of the inputs, (groups, unknowns, unknowns).
        cross: of inputs and outputs, (groups, unknowns, outputs).
        squares: of the outputs, (groups, outputs).
        mean_input: (groups, unknowns).
        mean_output: (groups, outputs).
    """

    rows: Tensor
    gram: Tensor
    cross: Tensor
    squares: Tensor
    mean_input: Tensor
    mean_output: Tensor

    def solve(self, weight: Tensor, ridge: float) -> tuple[Tensor, Tensor] | None:
        """The weights W and the shift c with the least sum of |W x + c - y|^2 + ridge |W - W0|^2.

        Args:
            weight: W0, of shape (groups, outputs, unknowns).
            ridge: in units of the mean diagonal of the Gram matrix.

        Returns:
            W and c, of shape (groups, outputs), in float64; None where the ridge is too small.

        >>> equations = NormalEquations(1, 1, 1, torch.device("cpu"))
        >>> x = torch.tensor([[[0.0], [1.0], [2.0]]])
        >>> equations.add(x, 3 * x + 1)
        >>> solved = equations.problem(has_shift=True).solve(torch.zeros(1, 1, 1), 1e-12)
        >>> [round(each.item(), 6) for each in solved or ()]
        [3.0, 1.0]
        """
        mean_diagonal = self.gram.diagonal(dim1=1, dim2=2).mean(1)
        strength = (ridge * mean_diagonal).clamp(min=torch.finfo(torch.float64).tiny)
        regular = self.gram.clone()
        regular.diagonal(dim1=1, dim2=2).add_(strength.unsqueeze(1))
        factor, failed = torch.linalg.cholesky_ex(regular)
        if failed.any():
            return None
        before = weight.to(self.cross).transpose(1, 2)
        solved = torch.cholesky_solve(self.cross + strength[:, None, None] * before, factor)
        shift = self.mean_output - (self.mean_input.unsqueeze(1) @ solved).squeeze(1)
        return solved.transpose(1, 2), shift

    def rescaled(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weights times a number for each output, and a shift: mean and variance are the targets'.

        Batch norm does the same when its statistics are measured anew. Without a shift the mean
        square is the targets'.

        Args:
            weight: of shape (groups, outputs, unknowns).

        Returns:
            As `solve`.

        >>> equations = NormalEquations(1, 1, 1, torch.device("cpu"))
        >>> x = torch.tensor([[[0.0], [1.0], [2.0]]])
        >>> equations.add(x, 3 * x + 1)
        >>> weight, shift = equations.problem(has_shift=True).rescaled(torch.ones(1, 1, 1))
        >>> round(weight.item(), 6), round(shift.item(), 6)
        (3.0, 1.0)
        """
        before = weight.to(self.gram)
        given = ((before @ self.gram) * before).sum(2)
        is_constant = given <= torch.finfo(torch.float32).eps * self.rows
        factor = (self.squares.clamp(min=0) / given.masked_fill(is_constant, 1)).sqrt()
        solved = before * factor.masked_fill(is_constant, 1).unsqueeze(2)
        return solved, self.mean_output - (solved @ self.mean_input.unsqueeze(2)).squeeze(2)
