"""Accuracy of a residual classifier with sums of recovered maps reduced, and with the same in full.

    python -m benchmarks.accuracy.sums recipes/resnet_cifar/network.py:resnet20 \
        --weights runs/resnet20/network.safetensors --data cifar10 --size 32 \
        --mean .485 .456 .406 --std .229 .224 .225 --images 2000 --run-dir runs/sums

All sites are pooled, or the plans that `--plan` gives. The training images solve without labels.
Both are judged before and after on the same test images, so the difference has a paired error.
"""

import torch

import virtualpool as vp
from benchmarks.common.candidates import with_full_sums
from benchmarks.common.classifiers import opened, parser, plans
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from virtualpool.files import write_text
from virtualpool.plan import plan_of
from virtualpool.tasks.classification import evaluator

HEAD = ["plan", "sums", "weights", "sums in full", "sums reduced", "difference"]


def main() -> None:
    given = parser(__doc__).parse_args()
    task = opened(given, "none")
    model, example, judge = task.module.eval(), task.images, evaluator(task.data.test)
    solving = task.data.some_training_images(given.images, given.seed)
    rows = []
    for name, sites in plans(given, task):
        reduced = vp.apply(model, example, sites)
        pair = [with_full_sums(model, example, reduced), reduced]
        for weights in ("given", "reconstructed"):
            if weights == "reconstructed":
                pair = [vp.reconstruct(each, model, solving) for each in pair]
            full, less = (judge(each.eval()) for each in pair)
            change = less - full
            points = f"{100 * float(change):+.2f} ± {100 * (change.standard_error or 0):.2f}"
            cells = [f"{100 * float(each):.2f} %" for each in (full, less)]
            rows.append([name, str(len(plan_of(reduced).sums)), weights, *cells, points])
            print(rows[-1], flush=True)
    made_with = setting(torch.get_num_threads(), ["torch"])
    text = f"{table(HEAD, rows)}\n{made_with}, seed {given.seed}\n\n    {command()}\n"
    write_text(given.run_dir / "sums.md", text)


if __name__ == "__main__":
    main()
