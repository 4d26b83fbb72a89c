"""Accuracy of a pooled classifier in two forms: sums in full and reduced, or both borders.

    python -m benchmarks.accuracy.forms --forms sums recipes/resnet_cifar/network.py:resnet20 \
        --weights runs/resnet20/network.safetensors --data cifar10 --size 32 \
        --mean .485 .456 .406 --std .229 .224 .225 --images 2000 --run-dir runs/sums

All sites are pooled, or the plans that `--plan` gives. The training images solve without labels,
drawn anew for each seed. Both forms are judged before and after on the same test images, so their
difference has a paired error.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

import virtualpool as vp
from benchmarks.common.candidates import with_full_sums
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from benchmarks.common.task import opened, parser, plans
from virtualpool.files import write_text
from virtualpool.tasks.classification import evaluator

Pair = tuple[nn.Module, nn.Module]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--forms", choices=FORMS, required=True)
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = options.parse_args()
    task = opened(given, "none")
    model, judge = task.module.eval(), evaluator(task.data.test)
    titles, forms = FORMS[given.forms]
    rows = []
    for name, sites in plans(given, task):
        pair = forms(model, task.images, sites)
        rows.append([name, "given", *_cells(pair, judge)])
        for seed in given.seeds:
            solving = task.data.some_training_images(given.images, seed)
            one, other = (vp.reconstruct(each, model, solving) for each in pair)
            rows.append([name, f"reconstructed, seed {seed}", *_cells((one, other), judge)])
            print(rows[-1], flush=True)
    made_with = setting(torch.get_num_threads(), ["torch"])
    found = table(["plan", "weights", *titles, "difference, points"], rows)
    write_text(given.run_dir / f"{given.forms}.md", f"{found}\n{made_with}\n\n    {command()}\n")


def _cells(pair: Pair, judge: Callable[[nn.Module], vp.Score]) -> list[str]:
    one, other = (judge(each.eval()) for each in pair)
    change = other - one
    points = f"{100 * float(change):+.2f} ± {100 * (change.standard_error or 0):.2f}"
    return [*(f"{100 * float(each):.2f} %" for each in (one, other)), points]


def _sums(model: nn.Module, example: Tensor, sites: Sequence[str]) -> Pair:
    reduced = vp.apply(model, example, sites)
    return with_full_sums(model, example, reduced), reduced


def _borders(model: nn.Module, example: Tensor, sites: Sequence[str]) -> Pair:
    return vp.apply(model, example, sites), vp.apply(model, example, sites, border="padded")


FORMS = {
    "sums": (("sums in full", "sums reduced"), _sums),
    "borders": (("exact borders", "padded borders"), _borders),
}


if __name__ == "__main__":
    main()
