"""The report's figure of energy: a model's score against the joules that an image takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from virtualpool.report import svg
from virtualpool.report.labels import around, free_place, shortened


@dataclass(frozen=True)
class Mark:
    """A model: its joules per image with their quartiles, its score with its standard error."""

    label: str
    joules: float
    quartiles: tuple[float, float]
    score: float
    error: float | None
    picked: bool = False


def energy(marks: Sequence[Mark], width: float, score: str) -> Markup:
    """Scores against joules, with error bars and a line through the models that no other one beats.

    Args:
        marks: the models, the original first.
        width: in pixels.
        score: the scores' meaning, with their unit.
    """
    height = round(width * 0.4 + 100)
    left, top, right, bottom = 48, 34, width - 16, height - 46
    across = svg.scale([limit for mark in marks for limit in mark.quartiles], left, right)
    up = svg.scale([limit for mark in marks for limit in _heights(mark)], bottom, top)
    root = svg.figure(
        width,
        height,
        f"{score} against measured energy",
        "; ".join(f"{mark.label}: {mark.joules:.3g} J, {mark.score:.4g}" for mark in marks),
    )
    svg.axis_left(root, up, left, right, score, svg.plain)
    svg.axis_below(root, across, top, bottom, "joules per image, measured", svg.plain)
    svg.line(root, (left, up(marks[0].score)), (right, up(marks[0].score)), "original")
    best = unbeaten(marks)
    svg.polyline(root, [(across(it.joules), up(it.score)) for it in best], class_="pareto")
    taken = [around(across(mark.joules), up(mark.score), 7) for mark in marks]
    for mark in marks:
        _draw(root, mark, across, up, "dot" if mark in best else "dot dominated")
    for mark in marks:
        name, inside = shortened(mark.label, width, len(marks)), (left, top, right, bottom)
        x, y = free_place(name, across(mark.joules), up(mark.score), taken, inside)
        svg.add(root, "text", name, x=x, y=y, class_="name picked" if mark.picked else "name")
    return svg.to_markup(root)


def unbeaten(marks: Sequence[Mark]) -> list[Mark]:
    """The models that no other one beats in both energy and score, by rising energy.

    >>> less, more = (Mark(f"{joules} J", joules, (joules, joules), 80, None) for joules in (1, 2))
    >>> [mark.label for mark in unbeaten([more, less])]
    ['1 J']
    """
    best: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.joules, -mark.score)):
        if not best or mark.score > best[-1].score:
            best.append(mark)
    return best


def _heights(mark: Mark) -> tuple[float, float]:
    return mark.score - (mark.error or 0), mark.score + (mark.error or 0)


def _draw(root: svg.Element, mark: Mark, across: svg.Scale, up: svg.Scale, class_: str) -> None:
    x, y = across(mark.joules), up(mark.score)
    group = svg.add(root, "g", class_="model picked" if mark.picked else "model")
    svg.add(group, "title", f"{mark.label}: {mark.joules:.3g} J at {mark.score:.4g}")
    less, more = mark.quartiles
    low, high = _heights(mark)
    svg.line(group, (across(less), y), (across(more), y), "error")
    svg.line(group, (x, up(low)), (x, up(high)), "error")
    svg.add(group, "circle", cx=x, cy=y, r=5.5, class_=class_)
