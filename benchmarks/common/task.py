"""A network and its data, which a benchmark of accuracy reads from its command line; its plans."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

import virtualpool as vp
from virtualpool.cli.data import Preparation
from virtualpool.cli.task import Kind, Task, open_task


def parser(description: str | None) -> ArgumentParser:
    """A parser of a network, its images, its plans and how its weights are solved."""
    made = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("model", help="as MODEL of the command")
    made.add_argument("--weights", help="as of the command")
    made.add_argument("--data", required=True, help="as of the command")
    made.add_argument("--task", choices=get_args(Kind), default="classification")
    made.add_argument("--ignored", type=int, default=255, help="pixels of masks without a class")
    made.add_argument("--run-dir", type=Path, required=True, help="of all that is found")
    made.add_argument(
        "--plan",
        nargs="+",
        action="append",
        metavar=("NAME", "SITE"),
        help="a plan and its sites, or modules whose sites are meant; all sites if not given",
    )
    made.add_argument("--border", choices=("exact", "padded"), default="exact")
    made.add_argument("--images", type=int, default=1000, help="training images that solve")
    made.add_argument("--subset", type=int, help="judge on so many test images alone")
    made.add_argument("--size", type=int, help="side of the images")
    made.add_argument("--mean", nargs=3, type=float, help="of the colours")
    made.add_argument("--std", nargs=3, type=float, help="of the colours")
    made.add_argument("--batch-size", type=int, default=64)
    made.add_argument("--threads", type=int, help="of torch; as many as it takes itself")
    made.add_argument("--seed", type=int, default=0)
    return made


def add_training(made: ArgumentParser, epochs: float, purpose: str) -> None:
    """Adds the options of a training by distillation; `purpose` says what the epochs are of."""
    made.add_argument("--epochs", type=float, default=epochs, help=purpose)
    made.add_argument("--train-images", type=int, help="train on so many images alone")
    made.add_argument("--learning-rate", type=float, help="as distillation's if not given")
    made.add_argument("--precision", choices=("no", "bf16"), default="no", help="of the training")


def opened(given: Namespace, augmentation: str) -> Task:
    """The network and its data, on the given threads; the augmentation varies training images."""
    if given.threads:
        torch.set_num_threads(given.threads)
    mean, std = (each and tuple(each) for each in (given.mean, given.std))
    return open_task(
        given.model,
        given.weights,
        given.data,
        Preparation(given.size, None, mean, std, augmentation),
        task=given.task,
        metric="voc",
        device="cpu",
        batch_size=given.batch_size,
        subset=given.subset,
        workers=0,
        seed=given.seed,
        ignored=given.ignored,
    )


def plans(given: Namespace, task: Task) -> list[tuple[str, list[str]]]:
    """The plans, by name, and their sites."""
    return named_plans(given.plan, task.module, task.images)


def named_plans(
    asked: Sequence[Sequence[str]] | None, model: nn.Module, example_inputs: Any
) -> list[tuple[str, list[str]]]:
    """Plans, by name, and their sites; one of all sites if none is asked for.

    Args:
        asked: of each plan the name, then sites or modules, whose sites are meant; all if only the
            name is there.
        model: has the sites.
        example_inputs: for the model.
    """
    every = [site.name for site in vp.sites(model, example_inputs) if site.eligible]
    if not asked:
        return [("all sites", every)]
    return [(name, _within(parts, every) if parts else every) for name, *parts in asked]


def _within(parts: Sequence[str], every: Sequence[str]) -> list[str]:
    inside = {part: [site for site in every if f"{site}.".startswith(f"{part}.")] for part in parts}
    lost = [part for part, sites in inside.items() if not sites]
    if lost:
        raise SystemExit(f"No eligible site is {', '.join(lost)}, or within.")
    return [site for site in every if any(site in sites for sites in inside.values())]
