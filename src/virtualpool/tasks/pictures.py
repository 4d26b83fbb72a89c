"""Pictures of a task, as data URIs in a report or as figures in files."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 100

T = TypeVar("T")


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most so many items, from all over.

    >>> spread(range(10), 3)
    [0, 3, 6]
    """
    step = max(1, len(items) / count)
    return [items[int(step * place)] for place in range(min(count, len(items)))]


def data_uri(kind: str, write: Callable[[BinaryIO], None]) -> str:
    """A picture in a page: what `write` writes to a file of a format, such as "webp".

    >>> data_uri("png", lambda file: file.write(b"picture"))
    'data:image/png;base64,cGljdHVyZQ=='
    """
    file = io.BytesIO()
    write(file)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def figure_of(wide: float, high: float) -> "Figure":
    """An empty figure of a size in pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(wide / PIXELS_PER_INCH, high / PIXELS_PER_INCH))


def pixels_of(figure: "Figure") -> tuple[float, float]:
    """The width and the height of a figure in pixels."""
    wide, high = figure.get_size_inches() * PIXELS_PER_INCH
    return float(wide), float(high)


def axes_in(figure: "Figure", left: float, bottom: float, wide: float, high: float) -> "Axes":
    """A part of a figure, in pixels from its left lower corner."""
    whole_wide, whole_high = pixels_of(figure)
    axes = figure.add_axes(
        (left / whole_wide, bottom / whole_high, wide / whole_wide, high / whole_high)
    )
    axes.set_axis_off()
    return axes


def save(
    figure: "Figure", file: Path | BinaryIO, kind: str, scale: float, quality: int | None = None
) -> None:
    """Writes a figure, `scale` times as large as it says, with a quality of JPEG or WebP."""
    options: Any = {} if quality is None else {"pil_kwargs": {"quality": quality}}
    figure.savefig(file, format=kind, dpi=scale * PIXELS_PER_INCH, **options)
