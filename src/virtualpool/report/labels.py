"""Where a label in a figure covers least of the marks already there."""

Box = tuple[float, float, float, float]  # left, top, right, bottom


_ROOM_FOR_A_NAME = 45


def shortened(label: str, width: float, count: int) -> str:
    """A label among others of a figure; where it is crowded, "12" stands for "round 12".

    >>> shortened("round 12", 350, 3), shortened("round 12", 350, 17)
    ('round 12', '12')
    """
    return label if width > _ROOM_FOR_A_NAME * count else label.split()[-1]


def around(x: float, y: float, radius: float) -> Box:
    """The square around a point.

    >>> around(10, 20, 5)
    (5, 15, 15, 25)
    """
    return x - radius, y - radius, x + radius, y + radius


def free_place(
    label: str, x: float, y: float, taken: list[Box], inside: Box
) -> tuple[float, float]:
    """Which of eight places near (x, y) covers least of the places taken and of those outside.

    The place that it gets is taken then, too.
    """
    wide = 7.2 * len(label)
    offsets = [(10, -9), (10, 18), (-10 - wide, 18), (-10 - wide, -9)]
    offsets += [(-wide / 2, -16), (-wide / 2, 26), (16, 4), (-16 - wide, 4)]
    places = [(x + right, y + down) for right, down in offsets]
    boxes = [(left, base - 11, left + wide, base + 3) for left, base in places]
    covered = [
        _overlap(box, box) - _overlap(box, inside) + sum(_overlap(box, other) for other in taken)
        for box in boxes
    ]
    chosen = covered.index(min(covered))
    taken.append(boxes[chosen])
    return places[chosen]


def _overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, down)
