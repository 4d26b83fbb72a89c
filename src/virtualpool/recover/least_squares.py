"""The weights of a layer that come nearest to given outputs, in closed form."""

import torch
from torch import Tensor


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

        self.rows = zeros(1)
        self.gram = zeros(groups, unknowns, unknowns)
        self.cross = zeros(groups, unknowns, outputs)
        self.inputs = zeros(groups, unknowns)
        self.outputs = zeros(groups, outputs)
        self.squares = zeros(groups, outputs)

    @property
    def tensors(self) -> list[Tensor]:
        """All sums."""
        return [self.rows, self.gram, self.cross, self.inputs, self.outputs, self.squares]

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Adds rows.

        Args:
            inputs: (groups, rows, unknowns), the layer's inputs.
            outputs: (groups, rows, outputs), the outputs that it should have.
        """
        count = inputs.shape[1]
        if count == 0:
            return
        if inputs.dtype is not torch.float64:
            inputs, outputs = inputs.float(), outputs.float()
        # Products about the mean: in float32, a large mean's would hide the variance.
        means = [each.mean(1, dtype=torch.float64) for each in (inputs, outputs)]
        x, y = (
            each - mean.unsqueeze(1).to(each)
            for each, mean in zip((inputs, outputs), means, strict=True)
        )
        mean, its = means
        self.rows += count
        self.gram += x.mT @ x
        self.gram += count * mean.unsqueeze(2) * mean.unsqueeze(1)
        self.cross += x.mT @ y
        self.cross += count * mean.unsqueeze(2) * its.unsqueeze(1)
        self.inputs += count * mean
        self.outputs += count * its
        self.squares += y.square().sum(1, dtype=torch.float64) + count * its.square()

    def solve(
        self, weight: Tensor, ridge: float, *, has_shift: bool
    ) -> tuple[Tensor, Tensor] | None:
        """The weights W and the shift c with the least sum of |W x + c - y|^2 + ridge |W - W0|^2.

        Args:
            weight: W0, of shape (groups, outputs, unknowns).
            ridge: in units of the mean diagonal of the Gram matrix.
            has_shift: whether there is a c; it is zero otherwise.

        Returns:
            W and c, of shape (groups, outputs), in float64; None where the ridge is too small.

        >>> equations = NormalEquations(1, 1, 1, torch.device("cpu"))
        >>> x = torch.tensor([[[0.0], [1.0], [2.0]]])
        >>> equations.add(x, 3 * x + 1)
        >>> solved = equations.solve(torch.zeros(1, 1, 1), 1e-12, has_shift=True)
        >>> [round(each.item(), 6) for each in solved or ()]
        [3.0, 1.0]
        """
        gram, cross, mean_input, mean_output = self._about_means(has_shift=has_shift)
        diagonal = gram.diagonal(dim1=1, dim2=2)
        strength = (ridge * diagonal.mean(1)).clamp(min=torch.finfo(torch.float64).tiny)
        regular = gram + torch.diag_embed(strength.unsqueeze(1).expand_as(diagonal))
        before = weight.to(cross).transpose(1, 2)
        factor, failed = torch.linalg.cholesky_ex(regular)
        if failed.any():
            return None
        solved = torch.cholesky_solve(cross + strength[:, None, None] * before, factor)
        shift = mean_output - (mean_input.unsqueeze(1) @ solved).squeeze(1)
        return solved.transpose(1, 2), shift

    def rescaled(self, weight: Tensor, *, has_shift: bool) -> tuple[Tensor, Tensor]:
        """Weights times a number for each output, and a shift: mean and variance are the targets'.

        Batch norm does the same when its statistics are measured anew.

        Args:
            weight: of shape (groups, outputs, unknowns).
            has_shift: whether there is a shift; the mean square is the targets' otherwise.

        Returns:
            As `solve`.

        >>> equations = NormalEquations(1, 1, 1, torch.device("cpu"))
        >>> x = torch.tensor([[[0.0], [1.0], [2.0]]])
        >>> equations.add(x, 3 * x + 1)
        >>> weight, shift = equations.rescaled(torch.ones(1, 1, 1), has_shift=True)
        >>> round(weight.item(), 6), round(shift.item(), 6)
        (3.0, 1.0)
        """
        gram, _, mean_input, mean_output = self._about_means(has_shift=has_shift)
        before = weight.to(gram)
        given = ((before @ gram) * before).sum(2)
        wanted = self.squares - self.rows * mean_output.square()
        is_constant = given <= torch.finfo(torch.float32).eps * self.rows
        factor = (wanted.clamp(min=0) / given.masked_fill(is_constant, 1)).sqrt()
        solved = before * factor.masked_fill(is_constant, 1).unsqueeze(2)
        return solved, mean_output - (solved @ mean_input.unsqueeze(2)).squeeze(2)

    def _about_means(self, *, has_shift: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gram matrix and cross products about the means, and the means: zero without a shift."""
        mean_input = self.inputs / self.rows * has_shift
        mean_output = self.outputs / self.rows * has_shift
        gram = self.gram - self.rows * mean_input.unsqueeze(2) * mean_input.unsqueeze(1)
        cross = self.cross - self.rows * mean_input.unsqueeze(2) * mean_output.unsqueeze(1)
        return gram, cross, mean_input, mean_output
