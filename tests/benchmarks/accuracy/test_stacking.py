"""`benchmarks.accuracy.stacking` on ten images, and int8 of fused networks in ONNX Runtime."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import virtualpool as vp
from benchmarks.accuracy.stacking_parts import forms as parts
from benchmarks.accuracy.stacking_parts import precisions, trained
from benchmarks.accuracy.stacking_parts.accuracy import top1
from benchmarks.common.candidates import Candidate
from benchmarks.common.engines import exported
from virtualpool.export import onnx_int8
from virtualpool.files import read_json
from virtualpool.models import AllCNNC

FORM = "pruned, then pooled, fused"


@pytest.fixture
def fused() -> nn.Module:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ]  # fmt: skip
    image = torch.randn(1, 3, 15, 16)
    return vp.fuse(vp.apply(nn.Sequential(*layers).eval(), image, "all"), image)


@torch.no_grad()
def test_a_fused_network_is_computed_in_integers(fused: nn.Module, tmp_path: Path) -> None:
    batches = [*torch.randn(8, 3, 15, 16).split(1)]
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    exported(fused, batches[0], source)
    onnx_int8.quantise(source, target, batches)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    session = onnxruntime.InferenceSession(target, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for batch in batches:
        (found,) = session.run(None, {name: batch.numpy()})
        torch.testing.assert_close(torch.as_tensor(found), fused(batch), rtol=0.05, atol=0.01)
    steps = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    # Inputs and outputs are float, and nothing in between.
    assert (steps["QuantizeLinear"], steps["DequantizeLinear"]) == (1, 1)
    assert (steps["QLinearConv"], steps["QLinearMul"], steps["Pad"]) == (3, 2, 2)


def test_a_pad_between_two_scales_stays_float() -> None:
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    constants = [
        helper.make_tensor("one", floats, [], [1.0]),
        helper.make_tensor("two", floats, [], [2.0]),
        helper.make_tensor("zero", onnx.TensorProto.UINT8, [], [0]),
        helper.make_tensor("pads", onnx.TensorProto.INT64, [2], [1, 1]),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["in", "one", "zero"], ["a"]),
        helper.make_node("DequantizeLinear", ["a", "one", "zero"], ["b"]),
        helper.make_node("Pad", ["b", "pads"], ["c"], mode="edge"),
        helper.make_node("QuantizeLinear", ["c", "two", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["d", "two", "zero"], ["out"]),
    ]
    ends = [helper.make_tensor_value_info(name, floats, [None]) for name in ("in", "out")]
    network = helper.make_model(helper.make_graph(nodes, "padded", ends[:1], ends[1:], constants))
    before = network.SerializeToString()
    onnx_int8.pad_as_integers(network)
    assert network.SerializeToString() == before


def test_accuracy_does_not_count_images_that_only_fill_a_batch() -> None:
    calls = []

    def ready(images: torch.Tensor) -> Callable[[], torch.Tensor]:
        calls.append(len(images))
        return lambda: images

    labels = torch.tensor([0, 1, 2, 0, 0])
    scores = nn.functional.one_hot(torch.tensor([0, 1, 2, 1, 0])).float()
    score = top1(ready, [(scores, labels)], 3)
    assert (score, score.samples, calls) == (0.8, 5, [3, 3])


def test_from_images_to_tables_with_the_last_form_alone(
    program: Callable[..., None],
    cifar: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forms = parts.forms

    def pruned(_: Any, folder: Path, __: Any) -> None:
        folder.mkdir(parents=True)
        torch.save(AllCNNC().eval(), folder / trained.PRUNED_FILE)

    def last(*given: Any) -> Any:
        found = forms(*given)
        assert [*found] == [
            "original", "pooled, unfused", "pooled, fused", "pruned", FORM
        ]  # fmt: skip
        return {FORM: found[FORM]}

    pooled = tmp_path / "run" / "trained" / "pooled" / "model.pt"
    pooled.parent.mkdir(parents=True)  # it is there, so it is not trained
    torch.save(vp.apply(AllCNNC().eval(), torch.zeros(1, 3, 32, 32), "all"), pooled)
    monkeypatch.setattr(trained, "pruned", pruned)
    monkeypatch.setattr(parts, "forms", last)
    asked = (
        "accuracy.stacking", "--run-dir", tmp_path / "run", "--data", cifar,
        "--network", "all_cnn_c", "--runtime", "onnxruntime", "--batch", 2,
        "--threads", 1, "--duration-s", 0.001, "--markdown", tmp_path / "tables.md",
    )  # fmt: skip
    program(*asked)
    tables = (tmp_path / "tables.md").read_text()
    rows = [line for line in tables.splitlines() if line.startswith(f"| {FORM} |")]
    assert len(rows) == 7
    assert all(len(row.split("|")) == 5 and "–" not in row for row in rows)
    times = read_json(tmp_path / "run" / "all_cnn_c" / "onnxruntime, batch 2.json")
    assert not times["failures"]
    assert [*times["samples_ms"]] == [f"{FORM}, float32", f"{FORM}, int8"]

    # Results that are there are taken, not made again.
    monkeypatch.delattr(trained, "recovery")
    monkeypatch.delattr(onnx_int8, "quantise")
    program(*asked)
    assert (tmp_path / "tables.md").read_text() == tables


def test_all_is_quantised_before_anything_is_compiled(
    fused: nn.Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Strict `torch.export` would make Dynamo forget its compiled code."""
    image = torch.randn(1, 3, 15, 16)
    monkeypatch.setattr(precisions.Tools, "import_torchao", lambda tools: None)
    quantised = nn.Identity()
    monkeypatch.setattr(precisions.pt2e, "quantised", lambda model, batches: quantised)
    forms = {"fused": Candidate(fused, image, fused)}
    found = precisions.in_precisions(forms, "compiled", [image], precisions.Tools(tmp_path))
    assert list(found) == ["fused, float32", "fused, bfloat16", "fused, int8"]
    assert found["fused, int8"].model is quantised
    assert found["fused, int8"].reference is fused
