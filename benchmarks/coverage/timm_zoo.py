"""Fusing on networks of timm, a family each: writes docs/results/timm.md.

    python -m benchmarks.coverage.timm_zoo --out docs/results/timm.md

These are written as users write theirs: with activations, norms, gates and scales of their own.
Weights are random and in float64, all sites are pooled, and fused is compared with pooled.
"""

import argparse
import datetime
import sys
from collections import Counter
from dataclasses import dataclass

import timm
import torch
from torch import Tensor

import virtualpool as vp
from benchmarks.common.networks import alive
from benchmarks.common.setting import command
from benchmarks.common.tables import table
from virtualpool.files import write_text
from virtualpool.fuse import Report, report_of

NETWORKS = """
    caformer_s18 cs3darknet_s cspdarknet53 cspresnet50 darknet53 densenet121 dla34 dm_nfnet_f0
    ecaresnet26t edgenext_xx_small efficientnet_lite0 ese_vovnet19b_dw fbnetc_100 gcresnext26ts
    gernet_s ghostnet_050 ghostnetv2_100 hardcorenas_a hgnetv2_b0 hrnet_w18_small
    inception_next_atto lcnet_050 legacy_xception mixnet_s mobilenetv3_small_050
    mobilenetv4_conv_small mobileone_s0 nf_resnet26 regnetz_b16 repghostnet_050 repvgg_a0
    res2net50_26w_4s resnest14d resnet18d resnetblur50 resnetv2_50 rexnet_100 selecsls42
    seresnet18 skresnet18 starnet_s1 tf_efficientnet_b0 tf_efficientnetv2_b0 tinynet_e tresnet_m
    vgg11_bn xception41
""".split()
TOLERANCE = 1e-10
MANY = 10
REASONS = 2


@dataclass(frozen=True)
class Row:
    """The results for one network.

    Attributes:
        network: its name in timm.
        pooled: how many sites are pooled.
        macs: multiply-accumulates pooled, as a part of the unmodified network's.
        difference: of fused from pooled, relative to the largest output.
        report: of fusing.
    """

    network: str
    pooled: int
    macs: float
    difference: float
    report: Report

    @property
    def left(self) -> int:
        """How many maps are still interpolated."""
        return len(self.report.interpolations)

    def cells(self) -> list[str]:
        """The texts of the row of all networks."""
        return [
            self.network,
            str(self.pooled),
            f"{self.macs:.2f}",
            str(len(self.report.fused)),
            str(self.left),
            f"{self.difference:.0e}",
        ]

    def why(self) -> list[str]:
        """The texts of the row of networks whose maps are not all gone: who asks most for them."""
        asked = Counter(
            kind for each in self.report.interpolations for kind in map(_kind, each.asked_by)
        )
        most = [cell for kind, maps in asked.most_common(REASONS) for cell in (f"`{kind}`", maps)]
        return [self.network, str(self.left), *map(str, most), *[""] * (2 * REASONS - len(most))]


def _kind(asker: str) -> str:
    """The operations that ask for a full map, without the names of their modules."""
    return asker.partition(" in ")[0].rpartition(".")[2]


@torch.no_grad()
def examine(network: str, side: int) -> Row:
    torch.manual_seed(0)
    model = alive(timm.create_model(network).double().eval())
    image = torch.rand(1, 3, side, side, dtype=torch.float64)
    pooled = vp.apply(model, image, "all")
    fused = vp.fuse(pooled, image)
    report = report_of(fused)
    assert report is not None
    expected: Tensor = pooled(image)
    return Row(
        network=network,
        pooled=len(vp.plan_of(pooled).names),
        macs=vp.measure.macs(pooled, image) / vp.measure.macs(model, image),
        difference=((fused(image) - expected).abs().max() / expected.abs().max()).item(),
        report=report,
    )


def page(rows: list[Row], command: str) -> str:
    """The rows as a page in Markdown."""
    works = sum(row.difference < TOLERANCE for row in rows)
    left = [row.left for row in rows]
    some, many = sum(0 < each < MANY for each in left), sum(each >= MANY for each in left)
    return "\n".join(
        [
            "# Fusing networks of timm",
            "",
            f"Fusing works on {works} of {len(rows)} networks: outputs equal the pooled network's "
            f"to {max(row.difference for row in rows):.0e} of the largest output or better, in "
            f"float64. {left.count(0)} of them interpolate no map any more.",
            "",
            table(
                ["maps still interpolated", "number of networks"],
                [
                    ["none", str(left.count(0))],
                    [f"1 to {MANY - 1}", str(some)],
                    [f"{MANY} and more", str(many)],
                ],
            ),
            "All sites pooled, exact borders, random weights, float64, torch "
            f"{torch.__version__}, timm {timm.__version__}, `{command}`, "
            f"{datetime.date.today().isoformat()}.",
            "",
            "## Why maps are left",
            "",
            "Three kinds of operations need a map in full: a sum or an activation at the end of a "
            "stage, a depthwise convolution whose kernel runs faster on the full map, and an "
            "operation without a rule ([the rules](../fusing.md#operations-and-their-rules)). The "
            "table names the two that read most of the maps left, by timm's names of modules and "
            "operations: `conv_dw` is a depthwise convolution, `act` an activation, `add` a sum, "
            "and a number a module's place in a sequence.",
            "",
            table(
                ["network", "maps left", "most read by", "maps", "then by", "maps"],
                [row.why() for row in rows if row.left],
            ),
            "## All networks",
            "",
            "- *MACs*: multiply-accumulates after pooling, as a part of those before.",
            "- *Sites fused*: the sites whose map is not interpolated.",
            "- *Maps left*: the maps that are still interpolated. Several sites can share one.",
            "- *Difference*: of the fused network's outputs from the pooled one's, relative to the "
            "largest output.",
            "",
            table(
                ["network", "sites pooled", "MACs", "sites fused", "maps left", "difference"],
                [row.cells() for row in rows],
            ),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=128, help="of the square image, in pixels")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="their names in timm")
    parser.add_argument("--out", default="docs/results/timm.md", help="the page to write")
    arguments = parser.parse_args()
    rows = []
    for network in arguments.networks:
        rows.append(examine(network, arguments.side))
        print(*rows[-1].cells(), sep=" | ", flush=True)
    write_text(arguments.out, page(rows, command()))
    return 0 if all(row.difference < TOLERANCE for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
