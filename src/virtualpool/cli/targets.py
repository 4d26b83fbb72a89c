"""The options of `tune` for a target: how many networks, within which bound, in what time."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

_TARGET = "Target"


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What `tune` is to find, where no rounds are asked for."""

    points: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=_TARGET,
            help="Faster networks to make, at most (default: 6).",
        ),
    ] = None
    min_speedup: Annotated[
        float | None,
        typer.Option(rich_help_panel=_TARGET, help="Least speed-up of each over the original."),
    ] = None
    max_latency_ms: Annotated[
        float | None,
        typer.Option(rich_help_panel=_TARGET, help="Most milliseconds of a call, by the median."),
    ] = None
    image_scales: Annotated[
        str | None,
        typer.Option(
            metavar=".75,.5",
            rich_help_panel=_TARGET,
            help="Sides of the images to try, relative to the original's (default: 7/8, 3/4, 5/8 "
            "and 1/2); or none.",
        ),
    ] = None
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="2h",
            rich_help_panel=_TARGET,
            help="Time of this start, such as 2h, 30m or 90s.",
        ),
    ] = None

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        return [f"--{name.replace('_', '-')}" for name, value in vars(self).items() if value]

    def arguments(self, max_drop: float | None) -> dict[str, Any]:
        """The arguments of `search` for them.

        Args:
            max_drop: the largest drop of the score, which rounds have, too.

        Raises:
            VirtualPoolError: a number makes no sense, or there are two bounds.
        """
        from virtualpool.cli.rounds import numbers
        from virtualpool.search import Target
        from virtualpool.search.planning.budget import seconds_of
        from virtualpool.search.planning.candidates import known_scales

        scales = self.image_scales
        usual = Target()
        target: Target = Target(
            usual.points if self.points is None else self.points,
            min_speedup=self.min_speedup,
            max_drop=max_drop,
            max_latency_ms=self.max_latency_ms,
        )
        return {
            "target": target,
            "image_scales": []
            if scales == "none"
            else scales and known_scales(numbers(scales, "--image-scales")),
            "budget": self.budget and seconds_of(self.budget),
        }
