"""Whether the order of the sites is right: three rankings beside the drop after fine-tuning.

    python -m benchmarks.accuracy.ranking virtualpool:all_cnn_c --weights cifar10 --data cifar10 \
        --images 1000 --epochs 1 --train-images 2000 --border padded --run-dir runs/ranking

Each site is pooled alone and judged as it is, with batch norm measured anew, and with the layers
behind it reconstructed. Then each is reconstructed and distilled, and judged once more. A ranking
is right as far as it has the order of these last drops: Spearman's coefficient is 1 then. Every
number is kept in the run's directory: stopped, the program goes on.
"""

from argparse import Namespace
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

import virtualpool as vp
from benchmarks.accuracy.reconstruction import training_of
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from benchmarks.common.task import add_training, opened, parser
from benchmarks.common.training import AUGMENTATIONS
from virtualpool.cli.task import Task
from virtualpool.files import write_text
from virtualpool.search import Run, by_recalibration

POOLED, RENEWED, RECOVERABLE = "as pooled", "batch norm measured anew", "recoverable"
_BATCHES = 50
"""Of training images, that measure batch norm anew."""


def main() -> None:
    given = arguments()
    task = opened(given, "none")
    ranked = rankings(task, given)
    names = [*ranked[POOLED]]
    tuned = fine_tuned(task, given, names)
    found = {name: [drops[site] for site in names] for name, drops in ranked.items()}
    final = [drop for drop, _ in tuned.values()]
    rows = [
        [
            site,
            *(f"{drops[place]:+.2f}" for drops in found.values()),
            f"{drop:+.2f}",
            f"{error:.2f}",
        ]
        for place, (site, (drop, error)) in enumerate(tuned.items())
    ]
    orders = [[name, f"{spearman(drops, final):.2f}"] for name, drops in found.items()]
    head = ["site", *(f"{name}, points" for name in found), "fine-tuned, points", "± points"]
    text = (
        f"{given.model}: {len(names)} sites, {given.images} images solve, {given.epochs:g} epochs "
        f"of {given.train_images or 'all'} images fine-tune each.\n\n{table(head, rows)}\n"
        f"{table(['ranking', 'Spearman with the drop after fine-tuning'], orders)}\n"
        f"{setting(torch.get_num_threads(), ['torch'])}, seed {given.seed}\n\n    {command()}\n"
    )
    print(text)
    write_text(given.run_dir / "table.md", text)


def rankings(task: Task, given: Namespace) -> dict[str, dict[str, float]]:
    """The drop of each site, in points, by each ranking; sites in the order of execution.

    A network without batch norm has two rankings.
    """
    model, judge, border = task.module.eval(), task.evaluator(), given.border
    images = task.data.some_training_images(given.images, given.seed)
    solved = vp.sensitivity(
        model, task.images, judge, recoverable=images, border=border,
        path=given.run_dir / "recoverable.json",
    )  # fmt: skip
    drops = {
        POOLED: {site.name: site.drop for site in solved.sites},
        RECOVERABLE: {site.name: site.recoverable_drop or 0.0 for site in solved.sites},
    }
    if any(isinstance(each, nn.BatchNorm2d) for each in model.modules()):
        # Statistics of images that are not varied as in training cost points by themselves.
        varied = opened(given, AUGMENTATIONS[given.task]).training_batches
        renewed = vp.sensitivity(
            model, task.images, judge, border=border, path=given.run_dir / "recalibrated.json",
            recalibrate=by_recalibration(varied, batch_count=_BATCHES),
        )  # fmt: skip
        drops[RENEWED] = {site.name: site.drop for site in renewed.sites}
    order = [site.name for site in vp.sites(model, task.images) if site.eligible]
    return {name: {site: 100 * each[site] for site in order} for name, each in drops.items()}


def fine_tuned(
    task: Task, given: Namespace, names: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """The drop of each site alone once it is fine-tuned, and its standard error, in points."""
    run, model, judge = Run(given.run_dir), task.module.eval(), task.evaluator()
    training = training_of(given)
    images = task.data.some_training_images(given.images, given.seed)
    original = vp.Score.of(judge(model))

    def drop(name: str) -> list[float]:
        pooled = vp.apply(model, task.images, [name], border=given.border)
        solved = vp.reconstruct(pooled, model, images)
        training.of(solved, model, given.run_dir / name, judge)
        lost = original - vp.Score.of(judge(solved.eval()))
        return [100 * float(lost), 100 * (lost.standard_error or 0)]

    found = {}
    for name in names:
        lost, error = run.remember(f"{name}.json", lambda name=name: drop(name))
        found[name] = lost, error
        print(f"{name}: {lost:+.2f} ± {error:.2f} points", flush=True)
    return found


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """The correlation of two lists' ranks; equal values share the mean of theirs.

    >>> spearman([1, 2, 3], [10, 20, 40]), spearman([1, 2, 3], [3, 2, 1])
    (1.0, -1.0)
    """
    return round(float(np.corrcoef(_ranks(one), _ranks(other))[0, 1]), 12)


def _ranks(values: Sequence[float]) -> list[float]:
    array = np.asarray(values)
    return [float((array < each).sum() + ((array == each).sum() - 1) / 2) for each in array]


def arguments() -> Namespace:
    added = parser(__doc__)
    add_training(added, 1, "of the fine-tuning of each site")
    return added.parse_args()


if __name__ == "__main__":
    main()
