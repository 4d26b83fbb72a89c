"""The report's figures: the frontier, the sensitivity bars, the training curves.

Each is drawn for a width in pixels, so that a phone gets its own figure with letters of full size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from virtualpool.measure.unit import Unit
from virtualpool.report import svg
from virtualpool.report.labels import Box, around, free_place, shortened


@dataclass(frozen=True)
class Dot:
    """A model of the frontier: speeds relative to the original, `error` a standard error.

    Scores and drops are as people read them, such as in per cent.

    Of a fused model, `unfused` is its speed before that. `pareto` is whether no other model of
    the same line beats it, and `on_smaller` whether it is the original on smaller images.
    """

    label: str
    speed: float
    speed_range: tuple[float, float]
    score: float
    error: float | None
    pareto: bool = False
    picked: bool = False
    unfused: float | None = None
    on_smaller: bool = False


@dataclass(frozen=True)
class Bar:
    """A site, and the loss of score when it alone is pooled, without fine-tuning.

    `recoverable` is the loss once the layers behind it are reconstructed, with its own error.
    """

    site: str
    drop: float
    error: float | None
    before_pool: bool
    recoverable: float | None = None
    recoverable_error: float | None = None

    @property
    def drops(self) -> list[tuple[str, float, float | None]]:
        """The drops by the classes of their bars, each with its error."""
        if self.recoverable is None:
            return [("bar", self.drop, self.error)]
        return [
            ("bar before-recovery", self.drop, self.error),
            ("bar", self.recoverable, self.recoverable_error),
        ]


@dataclass(frozen=True)
class Curve:
    """The records of one round's fine-tuning: (step, value) pairs."""

    label: str
    points: tuple[tuple[float, float], ...]


def frontier(
    dots: Sequence[Dot],
    width: float,
    unit: Unit,
    half_resolution: float | None = None,
    smaller: Sequence[Dot] = (),
) -> Markup:
    """The score against measured speed, with error bars and the line through the Pareto set.

    Args:
        dots: the models, the original first.
        width: in pixels.
        unit: of the scores.
        half_resolution: the speed of the original at half resolution, which is marked by a line.
        smaller: the original on smaller images, fine-tuned, which have a line of their own.
    """
    everything = [*dots, *smaller]
    height = round(width * 0.4 + 100)
    left, top, right, bottom = 48, 34, width - 16, height - 46
    across = svg.scale(_speeds(everything, half_resolution), left, right)
    heights = [limit for dot in everything for limit in _limits(dot.score, dot.error)]
    up = svg.scale(heights, bottom, top)
    root = svg.figure(
        width,
        height,
        f"{unit.title} against measured speed",
        "; ".join(_described(dot, unit) for dot in everything)
        + (f"; half resolution: {half_resolution:.2f}x" if half_resolution else ""),
    )
    svg.axis_left(root, up, left, right, title(unit), svg.plain)
    svg.axis_below(root, across, top, bottom, "speed-up, measured", lambda tick: f"{tick:g}×")
    original = up(dots[0].score)
    svg.line(root, (left, original), (right, original), "original")
    _line(root, dots, across, up, "pareto")
    if smaller:
        _line(root, smaller, across, up, "smaller")
    taken = [around(across(dot.speed), up(dot.score), 7) for dot in everything]
    if half_resolution is not None:
        x = across(half_resolution)
        svg.line(root, (x, top), (x, bottom), "half-resolution")
    for dot in dots:
        taken += _unfused(root, dot, across, up)
    for dot in everything:
        _dot(root, dot, across, up, unit)
    if half_resolution is not None:
        taken.append(_name_half_resolution(root, across(half_resolution), bottom))
    inside = (left, top, right, bottom)
    for dot in everything:
        name = shortened(dot.label, width, len(everything))
        x, y = free_place(name, across(dot.speed), up(dot.score), taken, inside)
        svg.add(root, "text", name, x=x, y=y, class_=f"name{_kind(dot)}")
    return svg.to_markup(root)


def sensitivity(bars: Sequence[Bar], width: float, unit: Unit) -> Markup:
    """A bar for each site, in the network's order; sites before a pooling layer are marked."""
    longest = int(width * 0.4 / 7)
    left = 16 + 7 * min(longest, max(len(bar.site) for bar in bars))
    top, row = 8, 20
    bottom = top + row * len(bars)
    drops = [each for bar in bars for each in bar.drops]
    limits = [limit for _, drop, error in drops for limit in _limits(drop, error)]
    across = svg.scale([0, *limits], left, width - 16)
    root = svg.figure(
        width,
        bottom + 46,
        f"{unit.title} lost by each site pooled alone",
        "; ".join(f"{bar.site}: {_recovered(bar, unit)}" for bar in bars),
    )
    svg.axis_below(root, across, top, bottom, f"{unit.name} lost{points(unit)}", svg.plain)
    for index, bar in enumerate(bars):
        middle = top + row * (index + 0.5)
        group = svg.add(root, "g")
        svg.add(group, "title", _said(bar, unit))
        name = bar.site if len(bar.site) <= longest else "…" + bar.site[1 - longest :]
        svg.add(group, "text", name, x=left - 8, y=middle + 4, text_anchor="end", class_="site")
        height = 12 / len(bar.drops)
        for place, (class_, drop, error) in enumerate(bar.drops):
            begin, end = sorted((across(0), across(drop)))
            class_ += " before-pool" if bar.before_pool else ""
            y = middle - 6 + place * height
            svg.add(group, "rect", x=begin, y=y, width=end - begin, height=height, class_=class_)
            low, high = _limits(drop, error)
            y += height / 2
            svg.line(group, (across(low), y), (across(high), y), "error")
    svg.line(root, (across(0), top), (across(0), bottom), "zero")
    return svg.to_markup(root)


def curves(lines: Sequence[Curve], width: float, title: str, zero: bool = False) -> Markup:
    """One line a round against its steps; with `zero`, also a line for the original, at zero."""
    height = round(width * 0.55 + 60)
    left, top, right, bottom = 48, 34, width - 12, height - 46
    steps = [step for curve in lines for step, _ in curve.points]
    across = svg.scale([0, *steps], left, right, 4, tight=True)
    values = [value for curve in lines for _, value in curve.points]
    up = svg.scale([0, *values] if zero else values, bottom, top)
    ends = "; ".join(f"{curve.label} ends at {curve.points[-1][1]:.3g}" for curve in lines)
    root = svg.figure(width, height, title, ends)
    svg.axis_left(root, up, left, right, title, svg.plain)
    svg.axis_below(root, across, top, bottom, "steps in the round", svg.plain)
    if zero:
        svg.line(root, (left, up(0)), (right, up(0)), "original")
    for index, curve in enumerate(lines):
        places = [(across(step), up(value)) for step, value in curve.points]
        style = f"--shade: {shade(index, len(lines))}"
        svg.polyline(root, places, class_="curve", style=style)
        for x, y in (places[0], places[-1]):
            svg.add(root, "circle", cx=x, cy=y, r=2.6, class_="end", style=style)
    return svg.to_markup(root)


def shade(index: int, count: int) -> str:
    """How far along the page's ramp of colours a round is.

    >>> [shade(index, 3) for index in range(3)]
    ['0%', '50%', '100%']
    """
    return f"{100 * index / max(1, count - 1):.0f}%"


def title(unit: Unit) -> str:
    """The name of an axis of scores."""
    return f"{unit.name} (%)" if unit.percent else unit.name


def points(unit: Unit) -> str:
    """The text behind the name of a difference of scores."""
    return " (points)" if unit.percent else ""


def _speeds(dots: Sequence[Dot], half_resolution: float | None) -> list[float]:
    speeds = [limit for dot in dots for limit in dot.speed_range]
    others = [dot.unfused for dot in dots] + [half_resolution]
    return speeds + [speed for speed in others if speed is not None]


def _described(dot: Dot, unit: Unit) -> str:
    written = f" (unfused {dot.unfused:.2f}x)" if dot.unfused else ""
    return f"{dot.label}: {dot.speed:.2f}x{written}, {unit.scaled(dot.score)}"


def _line(
    root: svg.Element, dots: Sequence[Dot], across: svg.Scale, up: svg.Scale, class_: str
) -> None:
    """A line through the models that no other one beats."""
    front = sorted((dot for dot in dots if dot.pareto), key=lambda dot: dot.speed)
    svg.polyline(root, [(across(dot.speed), up(dot.score)) for dot in front], class_=class_)


def _kind(dot: Dot) -> str:
    """The class of a model that is not as the others are, behind a space."""
    return " picked" if dot.picked else " on-smaller" if dot.on_smaller else ""


def _name_half_resolution(root: svg.Element, x: float, bottom: float) -> Box:
    """Names the line for the original at half resolution; gives where the name is."""
    name = "half resolution"
    svg.add(root, "text", name, x=x - 6, y=bottom - 7, text_anchor="end", class_="limit")
    return x - 6 - 6.5 * len(name), bottom - 19, x, bottom


def _unfused(root: svg.Element, dot: Dot, across: svg.Scale, up: svg.Scale) -> list[Box]:
    """Where a fused model was before that, and the way from there; gives the covered boxes."""
    if dot.unfused is None:
        return []
    x, y = across(dot.unfused), up(dot.score)
    svg.line(root, (x, y), (across(dot.speed), y), "gain")
    circle = svg.add(root, "circle", cx=x, cy=y, r=3.5, class_="written")
    svg.add(circle, "title", f"{dot.label}, unfused: {dot.unfused:.2f}×")
    return [around(x, y, 5)]


def _dot(root: svg.Element, dot: Dot, across: svg.Scale, up: svg.Scale, unit: Unit) -> None:
    x, y = across(dot.speed), up(dot.score)
    group = svg.add(root, "g", class_=f"model{_kind(dot)}")
    svg.add(group, "title", f"{dot.label}: {dot.speed:.2f}× at {unit.scaled(dot.score)}")
    slow, fast = dot.speed_range
    low, high = _limits(dot.score, dot.error)
    svg.line(group, (across(slow), y), (across(fast), y), "error")
    svg.line(group, (x, up(low)), (x, up(high)), "error")
    svg.add(group, "circle", cx=x, cy=y, r=5.5, class_="dot" if dot.pareto else "dot dominated")


def _said(bar: Bar, unit: Unit) -> str:
    place = ", before a pooling layer" if bar.before_pool else ""
    return f"{bar.site}{place}: {_recovered(bar, unit)}{points(unit)}"


def _recovered(bar: Bar, unit: Unit) -> str:
    """A site's drop, and its recoverable drop where that is known."""
    written = [
        unit.scaled(drop) if error is None else f"{unit.scaled(drop)} ± {unit.scaled(error)}"
        for _, drop, error in bar.drops
    ]
    return ", recoverable drop ".join(written)


def _limits(value: float, error: float | None) -> tuple[float, float]:
    return value - (error or 0), value + (error or 0)
