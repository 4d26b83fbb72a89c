"""A frontier's models as the rows of a table."""

from virtualpool.measure.unit import Unit
from virtualpool.search.frontier.point import Point


def columns(unit: Unit) -> list[str]:
    """The titles of the columns."""
    name = f"{unit.name}, %" if unit.percent else unit.name
    return ["model", f">{name}", ">drop", ">latency", ">speed-up", ">sites", ">MMACs"]


def row(point: Point, unit: Unit, unbeaten: bool) -> list[str]:
    """The cells of a model; a star marks one that no other one beats."""
    return [
        point.name + ("*" if unbeaten else ""),
        unit.number(point.accuracy),
        unit.number(point.drop),
        f"{point.latency.median_ms:.3g} ms",
        f"{point.speedup.median:.2f}x",
        point.pooled,
        f"{point.macs / 1e6:,.1f}",
    ]
