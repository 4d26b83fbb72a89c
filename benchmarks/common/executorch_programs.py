"""Programs of ExecuTorch whose work XNNPACK does: on the processor of a phone, and on this one.

A file beside each program lists the operators that XNNPACK took, and those left to ExecuTorch's
own. Between the two a map changes its layout, so the latter cost more than themselves.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor, nn

from virtualpool.export import executorch
from virtualpool.export.format import Request
from virtualpool.files import read_json, write_json


@dataclass(frozen=True)
class Delegation:
    """The operations that a program gives to XNNPACK.

    Attributes:
        parts: how many pieces of the network, each run in one go.
        left: how many times each operator is outside of them, by its name.
    """

    parts: int
    left: dict[str, int]

    @classmethod
    def of(cls, operators: Counter[str]) -> "Delegation":
        """The delegation of a program with such operators.

        >>> Delegation.of(Counter({"executorch_call_delegate": 1, "relu.default": 2}))
        Delegation(parts=1, left={'relu.default': 2})
        """
        left = {name: count for name, count in operators.items() if name != executorch.DELEGATE}
        return cls(operators[executorch.DELEGATE], left)

    @classmethod
    def beside(cls, program: Path) -> "Delegation":
        """The delegation of the program in a file."""
        return cls(**read_json(_beside(program)))

    def __str__(self) -> str:
        """The operators that are left, the most frequent first."""
        ranked = sorted(self.left.items(), key=lambda item: -item[1])
        return ", ".join(f"{count} {name}" for name, count in ranked) or "none"


def write_program(model: nn.Module, images: Tensor, file: Path) -> None:
    """Exports a model for XNNPACK, in float32 and with the shape of these images."""
    beside = file.with_suffix(".part")
    delegation = Delegation.of(executorch.write_program(Request(model, images), beside))
    write_json(_beside(file), asdict(delegation))
    beside.replace(file)  # last: who finds it finds both


def _beside(program: Path) -> Path:
    return program.with_suffix(".json")
