"""Every format of `virtualpool.export` on five kinds of networks and both borders.

    python -m benchmarks.coverage.export --json runs/export.json --markdown docs/results/export.md

Each file is compared with its model in its own runtime, and timed there beside the unmodified
network's, interleaved. Started again with the same file it goes on there. Formats whose packages
are not installed say so.
"""

import argparse
import gc
import sys
from collections.abc import Callable, Iterator
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
_NOTHING = "–"
_DIFFERENCE = "Difference from the model's outputs:"
_CAPTIONS = {
    "int8": "Cosine with the model's outputs:",
    "Open axes": "Open are the batch with exact borders; batch, height and width with padded ones. "
    "Difference in float32, at several sizes of each open axis:",
}
_FASTER = (
    "How many times faster than the unmodified network's file in the same runtime, interleaved."
)
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
    """The page: the worst of each precision, then all files by precision."""
    whole = [row for row in rows if row.open_axes == "none" and "," not in row.network]
    opened = [row for row in rows if row.open_axes != "none"]
    parts = [row for row in rows if "," in row.network]
    precisions = dict.fromkeys(row.precision for row in rows)
    packages = ["torch", *filter(find_spec, _PACKAGES)]
    worst = {each: _worst([row for row in rows if row.precision == each]) for each in precisions}
    return "\n".join(
        [
            "# Exporting",
            "",
            table(["precision", "the worst of all files"], worst.items()),
            f"Made by `{command()}`: {setting(threads, packages)}. One image. All sites are pooled "
            "and fused; weights are random, but All-CNN-C's. *Difference* is the largest from the "
            "model, in the format's own runtime, relative to the largest output; *cosine* is of "
            "the int8 file's outputs with the model's.",
            "",
            *(
                _section(each, [row for row in whole if row.precision == each])
                for each in precisions
            ),
            _section("Open axes", opened),
            section("A detector", {"Difference in float32:": _by_part(parts, _cell)}),
            *_without_number(rows),
            _speeds(rows),
        ]
    )


def _worst(rows: list[Row]) -> str:
    cosines = [row.cosine for row in rows if row.cosine is not None]
    differences = [row.difference for row in rows if row.difference is not None]
    if cosines:
        return f"cosine {min(cosines):.4f}"
    return f"difference {max(differences):.0e}" if differences else _NOTHING


def _section(title: str, rows: list[Row]) -> str:
    return section(title, {_CAPTIONS.get(title, _DIFFERENCE): _by_network(rows, _cell)})


def _by_network(rows: list[Row], cell: Callable[[Row], str]) -> str:
    """A row a format and border, a column a network."""
    networks = dict.fromkeys(row.network for row in rows)
    cells = {(row.format, row.border, row.network): cell(row) for row in rows}
    formats = dict.fromkeys(row.format for row in rows if not row.why_not)
    lines = [
        [
            format if border == BORDERS[0] else "",
            border,
            *(cells.get((format, border, name), _NOTHING) for name in networks),
        ]
        for format in formats
        for border in BORDERS
    ]
    return table(["format", "border", *networks], lines)


def _by_part(rows: list[Row], cell: Callable[[Row], str]) -> str:
    """A row a part of the detector and format, a column a border."""
    cells = {(row.network, row.format, row.border): cell(row) for row in rows}
    kinds = dict.fromkeys((row.network, row.format) for row in rows)
    lines = [
        [
            network.partition(", ")[2],
            format,
            *(cells.get((network, format, border), _NOTHING) for border in BORDERS),
        ]
        for network, format in kinds
    ]
    return table(["part", "format", *(f"{border} borders" for border in BORDERS)], lines)


def _cell(row: Row) -> str:
    if row.why_not:
        return "not run" if row.why_not.startswith(_NOT_RUN) else "no"
    return f"{row.difference:.0e}" if row.cosine is None else f"{row.cosine:.4f}"


def _without_number(rows: list[Row]) -> Iterator[str]:
    """A list of the reasons why files were not written, or not run, and which these are."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.why_not:
            axes = "" if row.open_axes == "none" else ", open axes"
            name = f"{row.network} ({row.format}, {row.precision}, {row.border}{axes})"
            reasons.setdefault(row.why_not, []).append(name)
    if reasons:
        lines = [f"- {why}: {'; '.join(names)}." for why, names in reasons.items()]
        yield "\n".join(["## Not compared", "", *lines, ""])


def _speeds(rows: list[Row]) -> str:
    """The speed-ups: of the whole networks by precision, and of the detector's parts."""
    timed = [row for row in rows if row.speedup]
    whole = [row for row in timed if "," not in row.network]
    tables = {
        f"{_FASTER} In {precision}:": _by_network(
            [row for row in whole if row.precision == precision], _speedup
        )
        for precision in dict.fromkeys(row.precision for row in whole)
    }
    parts = [row for row in timed if "," in row.network]
    return section("Speed", tables | {"The detector in float32:": _by_part(parts, _speedup)})


def _speedup(row: Row) -> str:
    return f"{row.speedup:.2f}"


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
