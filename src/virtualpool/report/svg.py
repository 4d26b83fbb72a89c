"""The pieces of a figure: elements that escape their text, scales with round ticks, axes.

Elements carry class names; their colours, fonts and line widths are in the page's style sheet.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

from markupsafe import Markup

Element = ElementTree.Element


def figure(width: float, height: float, title: str, description: str) -> Element:
    """An empty figure that a screen reader reads as its title and description."""
    root = Element(
        "svg",
        {"viewBox": f"0 0 {_number(width)} {_number(height)}", "role": "img", "aria-label": title},
    )
    add(root, "desc", description)
    return root


def add(parent: Element, tag: str, text: str | None = None, **attributes: str | float) -> Element:
    """Adds a child; `class_` and underscores become `class` and hyphens.

    >>> to_markup(add(Element("g"), "text", "a < b", class_="label", text_anchor="end", x=1 / 3))
    Markup('<text class="label" text-anchor="end" x="0.33">a &lt; b</text>')
    """
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    child = ElementTree.SubElement(
        parent, tag, {name: _attribute(value) for name, value in names.items()}
    )
    child.text = text
    return child


def line(
    parent: Element, start: tuple[float, float], end: tuple[float, float], class_: str
) -> None:
    """A straight line."""
    add(parent, "line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def polyline(parent: Element, points: Iterable[tuple[float, float]], **attributes: str) -> None:
    """A line through points, not filled."""
    path = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
    add(parent, "polyline", points=path, fill="none", **attributes)


def to_markup(root: Element) -> Markup:
    """The figure as text for a page."""
    return Markup(ElementTree.tostring(root, encoding="unicode"))


@dataclass(frozen=True)
class Scale:
    """Puts the values from `low` to `high` on the pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def scale(
    values: Iterable[float], start: float, end: float, ticks: int = 5, tight: bool = False
) -> Scale:
    """A scale around `values` that begins and ends at round numbers, or with `tight` at the values.

    >>> scale([0.2, 8.7], 0, 100).ticks
    (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
    >>> scale([0, 8.7], 0, 100, tight=True).ticks
    (0.0, 2.0, 4.0, 6.0, 8.0)
    """
    from matplotlib.ticker import MaxNLocator

    values = list(values)
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    found = MaxNLocator(nbins=ticks, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    round_ticks = tuple(round(float(tick), 10) for tick in found)
    if tight:
        return Scale(low, high, start, end, tuple(t for t in round_ticks if low <= t <= high))
    return Scale(round_ticks[0], round_ticks[-1], start, end, round_ticks)


def plain(value: float) -> str:
    """A tick's name, with a real minus sign.

    >>> [plain(value) for value in (2.5, -0.0, 20000)]
    ['2.5', '0', '20,000']
    """
    return f"{value + 0.0:,.10g}".replace("-", "\N{MINUS SIGN}")


def axis_below(
    parent: Element,
    across: Scale,
    top: float,
    bottom: float,
    title: str,
    name: Callable[[float], str],
) -> None:
    """The horizontal axis: its ticks' names, a fine line up from each, and its title."""
    for tick in across.ticks:
        x = across(tick)
        line(parent, (x, top), (x, bottom), "grid")
        add(parent, "text", name(tick), x=x, y=bottom + 17, text_anchor="middle", class_="tick")
    middle = (across.start + across.end) / 2
    add(parent, "text", title, x=middle, y=bottom + 36, text_anchor="middle", class_="axis")


def axis_left(
    parent: Element, up: Scale, left: float, right: float, title: str, name: Callable[[float], str]
) -> None:
    """The vertical axis: ticks, fine lines, and its title above it, where it is easy to read."""
    for tick in up.ticks:
        y = up(tick)
        line(parent, (left, y), (right, y), "grid")
        add(parent, "text", name(tick), x=left - 8, y=y + 4, text_anchor="end", class_="tick")
    add(parent, "text", title, x=0, y=min(up.start, up.end) - 14, class_="axis")


def _attribute(value: str | float) -> str:
    return value if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
