"""The models that no other one beats."""

from collections.abc import Sequence

from virtualpool.search.frontier.point import Point


def unbeaten(points: Sequence[Point]) -> tuple[Point, ...]:
    """The models that no other one beats, by rising speed."""
    best = [point for point in points if not any(_beats(other, point) for other in points)]
    return tuple(sorted(best, key=lambda point: point.speedup.median))


def _beats(one: Point, other: Point) -> bool:
    ours = (one.accuracy, one.speedup.median)
    theirs = (other.accuracy, other.speedup.median)
    return ours != theirs and all(mine >= its for mine, its in zip(ours, theirs, strict=True))
