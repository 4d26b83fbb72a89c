"""`export`: a network written as a file for a runtime, run there, compared, and described."""

import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.export.agreeing import agreed, held_out
from virtualpool.export.arrays import check_outputs
from virtualpool.export.checking import TOLERANCE, checked
from virtualpool.export.format import Format, OpenAxes, Precision, Ready, Request
from virtualpool.export.formats import format_of
from virtualpool.export.part import part_of
from virtualpool.export.report import (
    CARD,
    ExportReport,
    described,
    this_machine,
    versions_for,
)
from virtualpool.export.shapes import check_open, more_inputs
from virtualpool.export.timing import timed
from virtualpool.files import check_writable, put_in_place, write_json
from virtualpool.graph.image_scale import scale_of, seen_by, without_resizing
from virtualpool.graph.inputs import batch_size, call, map_tensors, tensors
from virtualpool.measure.bench import dtype_of
from virtualpool.plan import plan_of, unwrapped
from virtualpool.sites import check_model
from virtualpool.words import first_line


@torch.no_grad()
def export(
    model: nn.Module,
    path: Path | str,
    example_inputs: Any,
    *,
    format: str | None = None,
    original: nn.Module | None = None,
    precision: Precision = "float32",
    open_axes: OpenAxes = "none",
    part: str | None = None,
    calibration: Iterable[Any] = (),
    threads: int | None = None,
    score: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Writes a network as a file for another runtime, once that runtime has given the same outputs.

    The file needs no virtualpool. It is run in its own runtime on the processor, on the example
    inputs, on random ones, and on other batches and sizes where these are open; it takes its place
    only if all outputs are the model's. A card lies beside it, `net.onnx.card.json`: the plan, the
    comparisons, the operators, versions and machine.

    Args:
        model: any network in float32, pooled or not, fused or not; it is not changed, and exported
            in eval mode from the CPU.
        path: where to; an existing file is replaced when the new one is complete. Its suffix says
            the format: `.onnx`, `.xml` (OpenVINO), `.pt2` (torch.export), `.pte` (ExecuTorch) or
            `.mlpackage` (Core ML, which is run on a Mac alone).
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments, such as
            images (N, 3, H, W) in float32. For a model with an image scale give the images that it
            takes. Its file takes images that are resized already, and says so: they are resized
            while they are decoded, and runtimes resize differently.
        format: "onnx" (for ONNX Runtime on processors), "onnx-any" (for every runtime, and GPUs),
            "tensorrt" (ONNX that TensorRT reads well), "openvino", "pt2", "aoti" (AOTInductor, a
            `.pt2` package), "executorch" or "coreml"; None is by the suffix.
        original: the unmodified network, or another one with the same inputs. It is exported
            alike, and the latency of both is measured, interleaved in the runtime.
        precision: "float32", "float16" (ONNX, OpenVINO, Core ML, TensorRT), or "int8" (ONNX,
            OpenVINO), which the runtime's own tool quantises and which is judged by its agreement.
        open_axes: "none", a file for inputs of these shapes; "batch", for any number of
            images; "all", also for any height and width, if the network takes them.
        part: the qualified name of a submodule to export, with the inputs that it gets when
            the model runs on the example inputs: a detector's "backbone", or "rpn.head".
        calibration: batches for int8, a hundred images or more: inputs, or (inputs, labels)
            pairs whose labels are not used. A quarter of them is kept to compare on.
        threads: the runtime's threads; None is torch's number.
        score: the model's accuracy, for the card, where you know it.

    Returns:
        The comparison, the latencies and the operators; its `str` is a summary.

    Raises:
        VirtualPoolError: the suffix or an argument is unknown, a package is missing, nothing can be
            written there, the network cannot be converted, or the file gives other outputs. The
            path is as it was then.

    >>> import tempfile
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> report = export(network, Path(tempfile.mkdtemp(), "net.pt2"), torch.rand(1, 3, 8, 8))
    >>> report.operators, report.difference
    ({'conv2d.default': 1, 'relu.default': 1}, 0.0)
    """
    path = Path(path)
    chosen = format_of(path, format)
    chosen.check(precision, open_axes)
    check_writable(path)
    if threads is not None and threads < 1:
        raise VirtualPoolError(f"threads={threads}: a runtime has one thread or more.")
    check_model(unwrapped(model))
    given = map_tensors(lambda x: x.detach().cpu().contiguous(), example_inputs)
    whole, inputs = _ready_to_export(model, given)
    given_out = _run(whole, inputs)
    exported, inputs = part_of(whole, inputs, part) if part else (whole, inputs)
    check_outputs(exported, call(exported, inputs) if part else given_out)
    check_open(exported, inputs, open_axes)
    solving, judging = (), ()
    if precision == "int8":
        size = batch_size(inputs) if open_axes == "none" else None
        solving, judging = held_out(calibration, size)
    sees = partial(seen_by, unwrapped(model))
    request = Request(exported, inputs, open_axes, precision, [*map(sees, solving)])
    threads = threads or torch.get_num_threads()
    with TemporaryDirectory(prefix="virtualpool-export-") as folder:
        made = Path(folder, path.name)
        operators = _written(chosen, request, made)
        found: dict[str, Any] = {"not_run": chosen.cannot_run}
        if not chosen.cannot_run:
            ready = _opened(chosen, request, made, threads)
            found |= _compared(request, ready, [*map(sees, judging)])
            if original is not None:
                alike = _alike(request, original, given, part, solving)
                found |= _timed(chosen, request, ready, alike, folder, threads)
        files = [made, *(made.with_suffix(suffix) for suffix in chosen.beside)]
        versions = versions_for(chosen)
        known = versions.get(chosen.packages[0] if chosen.packages else "torch", "")
        report = ExportReport(
            path=path,
            format=chosen.name,
            runtime=f"{chosen.runtime} {known}".strip(),
            precision=precision,
            open_axes=open_axes,
            size_bytes=sum(map(_size, files)),
            model=described(whole, part or ""),
            image_scale=1.0 if part else scale_of(unwrapped(model)),
            operators=dict(operators),
            hint=chosen.hint(request, made),
            score=score,
            versions=versions,
            machine=this_machine(threads),
            **found,
        )
        # The file itself comes last of those that belong to it.
        for file in reversed(files):
            put_in_place(file, path.with_name(file.name))
        write_json(path.with_name(path.name + CARD), report.to_json())
    return report


def _compared(request: Request, ready: Ready, judging: Sequence[Any]) -> dict[str, Any]:
    """What the comparison of a file with its model gave; int8 is judged by its agreement."""
    if request.precision == "int8":
        return {"agreement": agreed(ready, request.model, judging)}
    every = more_inputs(request.inputs, request.open_axes)
    checks = checked(ready, request.model, every, TOLERANCE[request.precision])
    if request.open_axes != "none" and len({check.shapes for check in checks}) == 1:
        raise VirtualPoolError(
            f"{type(request.model).__name__} takes no inputs but of {checks[0].shapes}, so open "
            'axes cannot be compared. Export it with open_axes="none".'
        )
    return {"checks": tuple(checks)}


def _ready_to_export(model: nn.Module, inputs: Any) -> tuple[nn.Module, Any]:
    """A copy of a model that resizes no images, and the inputs that it takes."""
    if (dtype := dtype_of(model)) != "float32":
        raise VirtualPoolError(
            f"{type(model).__name__} is in {dtype}, and precision= says in what a file computes. "
            "Give model.float(), and inputs in float32."
        )
    copied, inputs = without_resizing(unwrapped(model), inputs)
    return copied.eval().cpu(), inputs


def _run(model: nn.Module, inputs: Any) -> Any:
    """What a model gives for its example inputs, so that a wrong shape is told of as such."""
    if any(not each.numel() for each in tensors(inputs)):
        raise VirtualPoolError(
            "The example inputs hold a tensor without values, and nothing can be compared on it. "
            "Give one image or more."
        )
    try:
        return call(model, inputs)
    except Exception as error:
        reason = first_line(error)
        raise VirtualPoolError(
            f"{type(model).__name__} does not run on the example inputs ({type(error).__name__}: "
            f"{reason:.300}). Give inputs as the model takes them, such as images (1, 3, 224, 224)."
        ) from error


def _written(format: Format, request: Request, path: Path) -> Counter[str]:
    with _refusing(format, request.model), _quiet():
        return format.write(request, path)


def _opened(format: Format, request: Request, path: Path, threads: int) -> Ready:
    with _refusing(format, request.model):
        return format.ready(path, threads)


def _alike(
    request: Request, original: nn.Module, given: Any, part: str | None, calibration: Sequence[Any]
) -> Request:
    """The export of the original: with the inputs that it takes itself, which may be larger."""
    other, inputs = _ready_to_export(original, given)
    _run(other, inputs)
    if plan_of(request.model).image_scale == 1 and part:
        other, inputs = other.get_submodule(part), request.inputs
    elif part:
        other, inputs = part_of(other, inputs, part)
    return Request(other, inputs, request.open_axes, request.precision, calibration)


def _timed(
    format: Format, request: Request, ready: Ready, alike: Request, folder: str, threads: int
) -> dict[str, Any]:
    """The latency of a file and of the original's, both in one runtime."""
    path = Path(folder, "original", "original" + format.suffix)
    path.parent.mkdir()
    _written(format, alike, path)
    other = _opened(format, alike, path, threads)
    files = {
        "latency": ready(request.inputs),
        "original_latency": other(alike.inputs),
    }
    how = f"{format.runtime} {request.precision}"
    return dict(timed(files, batch_size(request.inputs), threads, how))


@contextmanager
def _refusing(format: Format, model: nn.Module) -> Iterator[None]:
    """Turns an exporter's errors into ones that name the model, the format and the reason."""
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while not isinstance(cause, VirtualPoolError) and (cause.__cause__ or cause.__context__):
            cause = cause.__cause__ or cause.__context__  # pyright: ignore[reportAssignmentType]
        if isinstance(cause, VirtualPoolError):
            raise VirtualPoolError(str(cause)) from error
        reason = first_line(cause)
        raise VirtualPoolError(
            f"{type(model).__name__} cannot be converted to {format.title} "
            f"({type(cause).__name__}: {reason:.300}). Export the part of it that can be by part=, "
            "leave fewer axes open, or choose another format."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters tell of their own insides, which nobody can act on; what fails is an error."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        # `torch.export` prints the graph of what it cannot export.
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())
