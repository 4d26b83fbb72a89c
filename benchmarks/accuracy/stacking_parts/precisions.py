"""The precisions of each runtime, and a network in each of them."""

import site
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy
import torch
from torch import Tensor, nn

from benchmarks.accuracy.stacking_parts import pt2e
from benchmarks.common.borrowed import NNCF, TORCHAO, environment, run
from benchmarks.common.candidates import Candidate
from benchmarks.common.engines import ENGINES, Engine, exported, in_inductor
from virtualpool.export import onnx_int8
from virtualpool.export.format import Ready
from virtualpool.export.openvino import in_openvino

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
RUNTIMES = ("compiled", "onnxruntime", "openvino")
_ANY = 1.0
"""The tolerance of a form that is judged by its accuracy."""

Batches = Sequence[Tensor]


@dataclass(frozen=True)
class Tools:
    """The tools that quantise, in environments of their own that are made when they are needed.

    Attributes:
        directory: where these are.
    """

    directory: Path

    def nncf(self) -> Path:
        """The Python that has NNCF."""
        return environment(self.directory / "nncf", *NNCF)

    def import_torchao(self) -> None:
        """Lets this process import torchao."""
        environment(self.directory / "torchao", TORCHAO)
        for packages in (self.directory / "torchao").glob("lib/python*/site-packages"):
            site.addsitedir(str(packages))


def in_precisions(
    forms: Mapping[str, Candidate], runtime: str, calibration: Batches, tools: Tools
) -> dict[str, Candidate]:
    """Candidates in all precisions of a runtime, by names such as `fused, int8`.

    Args:
        forms: of a network, in float32.
        runtime: one of `RUNTIMES`.
        calibration: batches of images, of which smaller candidates get the corners.
        tools: the tools that quantise.
    """
    floats = {FLOAT32: ENGINES[runtime], **_bfloat16(runtime)}
    found = {}
    for form, candidate in forms.items():
        for precision, engine in floats.items():
            found[named(form, precision)] = replace(candidate, engine=engine)
        batches = [_corner(batch, candidate.images) for batch in calibration]
        found[named(form, INT8)] = _IN_INT8[runtime](candidate, batches, tools)
    return found


def _corner(batch: Tensor, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return batch[..., :height, :width].contiguous()


def named(form: str, precision: str) -> str:
    """The name of a form in a precision."""
    return f"{form}, {precision}"


def precisions(runtime: str) -> list[str]:
    """Those that a runtime has."""
    return [FLOAT32, *_bfloat16(runtime), INT8]


def _bfloat16(runtime: str) -> dict[str, Engine]:
    if runtime == "openvino":
        return {BFLOAT16: replace(ENGINES["openvino-bf16"], tolerance=_ANY)}
    if runtime == "compiled":
        ready = partial(in_inductor, dtype=torch.bfloat16)
        engine = replace(ENGINES["compiled"], dtype=torch.bfloat16, tolerance=_ANY, ready=ready)
        return {BFLOAT16: engine}
    return {}  # on CPUs ONNX Runtime has no convolution in bfloat16


def _in_inductor(candidate: Candidate, calibration: Batches, tools: Tools) -> Candidate:
    tools.import_torchao()
    # At once, for strict `torch.export` makes Dynamo forget its compiled code: that would be
    # compiled again when it is timed, with weights that are not frozen, and without int8.
    quantised = pt2e.quantised(candidate.model, calibration)
    return replace(candidate, model=quantised, engine=_int8("compiled", in_inductor))


def _in_onnx_runtime(candidate: Candidate, calibration: Batches, tools: Tools) -> Candidate:
    def ready(model: nn.Module, images: Tensor, file: Path, threads: int) -> Ready:
        target = file.with_suffix(".int8.onnx")
        onnx_int8.quantise(exported(model, images, file), target, calibration)
        # Its file is there, so it is taken as it is.
        return ENGINES["onnxruntime"].ready(model, images, target, threads)

    return replace(candidate, engine=_int8("onnxruntime", ready))


def _in_openvino(candidate: Candidate, calibration: Batches, tools: Tools) -> Candidate:
    def ready(model: nn.Module, images: Tensor, file: Path, threads: int) -> Ready:
        import openvino

        batches, target = file.with_suffix(".npy"), file.with_suffix(".xml")
        numpy.save(batches, torch.stack(list(calibration)).numpy())
        source = exported(model, images, file)
        run(tools.nncf(), "benchmarks.accuracy.quantise_openvino", source, batches, target)
        return in_openvino(openvino.Core().read_model(target), threads, "f32")

    return replace(candidate, engine=_int8("openvino", ready))


def _int8(runtime: str, ready: Callable[[nn.Module, Tensor, Path, int], Ready]) -> Engine:
    return replace(ENGINES[runtime], tolerance=_ANY, ready=ready)


_IN_INT8 = {
    "compiled": _in_inductor,
    "onnxruntime": _in_onnx_runtime,
    "openvino": _in_openvino,
}
