"""The weights of a layer that come nearest to given outputs, in closed form."""

import torch
from torch import Tensor


class NormalEquations:
    """The least-squares problem of one layer, summed up batch by batch.

    Its size is that of one Gram matrix a group, however many rows are added. Sums of several
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

    @property
    def tensors(self) -> list[Tensor]:
        """All sums."""
        return [self.rows, self.gram, self.cross, self.inputs, self.outputs]

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Adds rows.

        Args:
            inputs: (groups, rows, unknowns), what the layer reads.
            outputs: (groups, rows, outputs), what it is to give.
        """
        if inputs.dtype is not torch.float64:
            inputs, outputs = inputs.float(), outputs.float()
        transposed = inputs.transpose(1, 2)
        self.rows += inputs.shape[1]
        self.gram += transposed @ inputs
        self.cross += transposed @ outputs
        self.inputs += inputs.sum(1)
        self.outputs += outputs.sum(1)

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
        gram, cross = self.gram, self.cross
        mean_input = self.inputs / self.rows * has_shift
        mean_output = self.outputs / self.rows * has_shift
        gram = gram - self.rows * mean_input.unsqueeze(2) * mean_input.unsqueeze(1)
        cross = cross - self.rows * mean_input.unsqueeze(2) * mean_output.unsqueeze(1)
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
