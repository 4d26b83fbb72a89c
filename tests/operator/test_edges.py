"""`joined` against padding and flipping of signs, and which exports ask for it."""

import pytest
import torch
from tests.reference import operations
from torch import Tensor, nn
from torch.nn import functional

import virtualpool as vp
from virtualpool.operator.edges import joined

MAP = torch.randn(2, 3, 4, 5)


@pytest.mark.parametrize("rows", [(0, 0), (1, 0), (0, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("columns", [(0, 0), (1, 1), (-1, 0), (0, -1)])
def test_edges_as_they_are_or_negated(rows, columns):
    found = joined(MAP, (rows[0], columns[0]), (rows[1], columns[1]))
    pads = [abs(sign) for sign in (*columns, *rows)]
    expected = functional.pad(MAP, pads, mode="replicate")
    for axis, (first, last) in ((-2, rows), (-1, columns)):
        for place, sign in ((0, first), (-1, last)):
            if sign < 0:
                expected.select(axis, place).neg_()
    assert torch.equal(found, expected)


def test_a_map_of_one_cell():
    found = joined(torch.ones(1, 1, 1, 1), (-1, 0), (1, -1))
    assert found.tolist() == [[[[-1, 1], [1, -1], [1, -1]]]]


class Recovered(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return vp.virtual_pool(x, (8, 10))


def test_an_exported_program_joins():
    program = torch.export.export(Recovered(), (MAP,))
    assert operations(program) == {"upsample_bilinear2d", "narrow", "cat"}
    assert torch.equal(program.module()(MAP), vp.virtual_pool(MAP, (8, 10)))


def test_a_file_of_onnx_pads(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    layers = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1)
    fused = vp.fuse(vp.apply(nn.Sequential(*layers).eval(), MAP, "all"), MAP)
    file = tmp_path / "model.onnx"
    torch.onnx.export(fused, (MAP,), file, dynamo=True, verbose=False)
    kinds = {node.op_type for node in onnx.load(file).graph.node}
    assert "Pad" in kinds
    assert "Concat" not in kinds
