"""The arguments that several benchmarks take."""

import argparse


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of a file for the tables, to which each benchmark adds its own."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--markdown", help="a file for the tables, which are printed anyway")
    return made


def add_networks(to: argparse.ArgumentParser) -> None:
    """Adds the networks and batches to measure."""
    to.add_argument(
        "--network",
        nargs="+",
        default=["vgg16.features", "resnet50"],
        help="names in torchvision, or of a part: vgg16.features",
    )
    to.add_argument("--batch", nargs="+", type=int, default=[1, 8], help="images per call")


def add_timing(to: argparse.ArgumentParser, *, duration_s: float = 20) -> None:
    """Adds the other options of a benchmark of speed."""
    to.add_argument("--duration-s", type=float, default=duration_s, help="of timing, per candidate")
    to.add_argument("--threads", type=int, default=2, help="of each runtime")
