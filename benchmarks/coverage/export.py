"""Every format of `virtualpool.export` on five kinds of networks and both borders.

    python -m benchmarks.coverage.export --json runs/export.json --markdown docs/results/export.md

Each file is compared with its model in its own runtime, and timed there beside the unmodified
network's, interleaved. Started again with the same file it goes on there. Formats whose packages
are not installed say so.
"""

import argparse
import gc
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

import virtualpool as vp
from benchmarks.common.arguments import parser
from benchmarks.common.networks import ALL_CNN_C, images, network
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import section, show, table
from benchmarks.coverage.unet import UNet
from virtualpool.errors import VirtualPoolError
from virtualpool.export.format import Precision
from virtualpool.export.formats import FORMATS
from virtualpool.files import read_json, write_json

BORDERS = ("exact", "padded")
DETECTOR = "faster_rcnn"
SIDES = {ALL_CNN_C: 32, "resnet18": 96, "mobilenet_v2": 96, "unet": 96, DETECTOR: 160}
PARTS = ("backbone", "rpn.head", "roi_heads.box_head", "whole")
"""What of the detector is exported."""

_TIMED = ("float32", "int8")
_OPEN = ("onnx", "openvino", "pt2")
_CALIBRATION = 32
_PACKAGES = ("onnxruntime", "openvino", "nncf", "executorch", "coremltools")
_NOT_RUN = "written, not run: "
# Heads are small, and nothing but an ONNX file holds the whole.
_OF_PART = {
    "rpn.head": ("onnx", "openvino", "pt2"),
    "roi_heads.box_head": ("onnx", "openvino", "pt2"),
    "whole": ("onnx-any", "openvino"),
}


@dataclass(frozen=True)
class Row:
    """What came of one export.

    Attributes:
        network: its name, and the part that was exported.
        border: of the pooled network, all of whose sites are pooled; it is fused.
        format: its name.
        precision: of the file.
        open_axes: of the file.
        difference: the largest from the model, relative to the largest output.
        cosine: of int8 with the model.
        speedup: over the unmodified network in the same runtime.
        why_not: the refusal, or why it was not run.
    """

    network: str
    border: str
    format: str
    precision: str
    open_axes: str
    difference: float | None = None
    cosine: float | None = None
    speedup: float | None = None
    why_not: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """By which a row is known."""
        return self.network, self.border, self.format, self.precision, self.open_axes

    @property
    def is_timed(self) -> bool:
        """Whether the latency of such a file says something: TensorRT's is timed as ONNX's is."""
        is_known = self.precision in _TIMED and self.format != "tensorrt"
        return is_known and self.open_axes == "none"

    @property
    def lacks_latency(self) -> bool:
        """Whether it is still to be timed."""
        return self.is_timed and not self.why_not and self.speedup is None


def main() -> int:
    options = _options()
    found = read_json(options.json) if Path(options.json).exists() else []
    rows = {row.key: row for row in (Row(**each) for each in found)}
    for name in options.network:
        model, inputs = _network(name), _inputs(name)
        for border in options.border:
            wanted = [
                row
                for row in _wanted(name, border, options.format)
                if row.key not in rows or (options.latency and rows[row.key].lacks_latency)
            ]
            if not wanted:
                continue
            pooled = vp.apply(model, inputs, border=border)
            fused = vp.fuse(pooled, inputs)
            for row in wanted:
                original = model if options.latency and row.is_timed else None
                rows[row.key] = _exported(row, fused, original, inputs, options.threads)
                write_json(options.json, [asdict(each) for each in rows.values()])
                print(rows[row.key], file=sys.stderr, flush=True)
                gc.collect()
    show(report([*rows.values()], options.threads), options.markdown)
    return 0


def _wanted(name: str, border: str, formats: list[str]) -> Iterator[Row]:
    for each in formats:
        if name == DETECTOR:
            for part in PARTS:
                if each in _OF_PART.get(part, FORMATS):
                    yield Row(f"{name}, {part}", border, each, "float32", "none")
            continue
        # Of ONNX the others are the same files in other precisions.
        alone = each in ("onnx-any", "tensorrt")
        for precision in FORMATS[each].precisions[: 1 if alone else None]:
            yield Row(name, border, each, precision, "none")
        if each in _OPEN:
            yield Row(name, border, each, "float32", "all" if border == "padded" else "batch")


def _exported(
    row: Row, fused: nn.Module, original: nn.Module | None, inputs: Any, threads: int
) -> Row:
    name, _, part = row.network.partition(", ")
    precision: Precision = row.precision  # pyright: ignore[reportAssignmentType]
    with TemporaryDirectory() as folder:
        try:
            report = vp.export(
                fused,
                Path(folder, "net" + FORMATS[row.format].suffix),
                inputs,
                format=row.format,
                original=original,
                precision=precision,
                open_axes=row.open_axes,  # pyright: ignore[reportArgumentType]
                part=None if part in ("", "whole") else part,
                calibration=[images(_CALIBRATION, SIDES[name])] if precision == "int8" else (),
                threads=threads,
            )
        except VirtualPoolError as error:
            return Row(*row.key, why_not=str(error))
    return Row(
        *row.key,
        difference=report.difference,
        cosine=report.agreement.cosine if report.agreement else None,
        speedup=report.speedup.median if report.speedup else None,
        why_not=_NOT_RUN + report.not_run if report.not_run else "",
    )


def _network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == DETECTOR:
        side = SIDES[name]
        return fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None, weights_backbone=None, num_classes=5, min_size=side, max_size=side
        ).eval()
    return UNet().eval() if name == "unet" else network(name, SIDES[name])


def _inputs(name: str) -> Any:
    image = images(1, SIDES[name])
    return [image[0].sigmoid()] if name == DETECTOR else image


def report(rows: list[Row], threads: int) -> str:
    """The page: a section a network, a row a file."""
    packages = ["torch", *filter(find_spec, _PACKAGES)]
    head = [
        "# Exporting",
        "",
        f"Made by `{command()}`: {setting(threads, packages)}. All sites are pooled and fused; "
        "weights are random, but All-CNN-C's. One image. *Difference*: the largest from the model, "
        "in the format's own runtime, relative to the largest output; of int8 the cosine with the "
        "model's outputs. *Faster*: over the unmodified network's file in the same runtime, "
        "interleaved; not measured where it says –. *Open*: the axes that the file leaves open; it "
        "is compared at several of each.",
        "",
    ]
    names = dict.fromkeys(row.network for row in rows)
    return "\n".join([*head, *(_section(name, rows) for name in names)])


def _section(name: str, rows: list[Row]) -> str:
    found = [row for row in rows if row.network == name]
    kinds = dict.fromkeys((row.format, row.precision, _open(row)) for row in found)
    side = SIDES[name.partition(", ")[0]]
    notes: dict[str, str] = {}
    lines = []
    for kind in kinds:
        cells = [*(kind[:2]), kind[2] or "–"]
        for border in BORDERS:
            those = [
                row
                for row in found
                if (row.format, row.precision, _open(row)) == kind and row.border == border
            ]
            cells += _cells(those[0], notes) if those else ["–", "–"]
        lines.append(cells)
    columns = [f"{border}: {what}" for border in BORDERS for what in ("difference", "faster")]
    captioned = {
        f"Images of {side}x{side}:": table(["format", "precision", "open", *columns], lines)
    }
    return section(name, captioned, [*(f"{mark} {text}\n" for text, mark in notes.items())])


def _open(row: Row) -> str:
    return "" if row.open_axes == "none" else "yes"


def _cells(row: Row, notes: dict[str, str]) -> list[str]:
    speed = f"{row.speedup:.2f}" if row.speedup else "–"
    axes = {"batch": " (batch)", "all": " (batch, height, width)"}.get(row.open_axes, "")
    if row.why_not:
        mark = notes.setdefault(row.why_not, f"({len(notes) + 1})")
        return [f"{'not run' if row.why_not.startswith(_NOT_RUN) else 'no'} {mark}", speed]
    if row.cosine is not None:
        return [f"cosine {row.cosine:.4f}", speed]
    return [f"{row.difference:.0e}{axes}", speed]


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--json", required=True, help="a file of all rows, which are not repeated")
    options.add_argument("--network", nargs="+", choices=SIDES, default=list(SIDES))
    options.add_argument("--border", nargs="+", choices=BORDERS, default=list(BORDERS))
    options.add_argument("--format", nargs="+", choices=FORMATS, default=list(FORMATS))
    options.add_argument(
        "--latency",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether to time; rows that were not timed are made again with it",
    )
    options.add_argument("--threads", type=int, default=2, help="of each runtime")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
