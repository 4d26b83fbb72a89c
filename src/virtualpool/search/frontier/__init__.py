"""The result of a search: its models, the best of them, and their picture."""

from virtualpool.search.frontier.frontier import Frontier
from virtualpool.search.frontier.point import Point

__all__ = ["Frontier", "Point"]
