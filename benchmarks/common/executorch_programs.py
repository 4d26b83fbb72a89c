"""Programs of ExecuTorch whose work XNNPACK does: on the processor of a phone, and on this one.

A file beside each program lists the operators that XNNPACK took, and those left to ExecuTorch's
own. Between the two a map changes its layout, so the latter cost more than themselves.
"""

import operator
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from virtualpool.files import read_json, write_json

_PART = "executorch_call_delegate"


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
    def of(cls, graph: fx.Graph) -> "Delegation":
        """The delegation of a lowered graph.

        >>> graph = fx.Graph()
        >>> _ = graph.call_function(torch.ops.aten.relu.default, (graph.placeholder("map"),))
        >>> Delegation.of(graph)
        Delegation(parts=0, left={'relu.default': 1})
        """
        calls = [node.target for node in graph.nodes if node.op == "call_function"]
        names = Counter(call.__name__ for call in calls if call is not operator.getitem)
        return cls(names.pop(_PART, 0), dict(names))

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
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # pyright: ignore
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower  # pyright: ignore

    exported = torch.export.export(model, (images,))
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    delegation = Delegation.of(lowered.exported_program().graph)
    program = lowered.to_executorch().buffer
    write_json(_beside(file), asdict(delegation))
    file.write_bytes(program)  # last: who finds it finds both


def _beside(program: Path) -> Path:
    return program.with_suffix(".json")
