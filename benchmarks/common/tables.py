"""Tables in Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

from virtualpool.files import write_text

T = TypeVar("T")


class OfBatch(Protocol):
    """A measurement with a batch of some size."""

    @property
    def batch(self) -> int:
        """Images per call."""
        ...


Measured = TypeVar("Measured", bound=OfBatch)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with an empty line after it."""
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join(map(markdown_row, lines)) + "\n"


def markdown_row(cells: Sequence[str]) -> str:
    """A row of a table; Markdown's marks for an end of cell or row in its texts are escaped."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def grid(
    corner: str,
    columns: Mapping[str, Sequence[T]],
    rows: Mapping[str, Callable[[T], str]],
) -> str:
    """A table in which a cell has the texts of several things, between slashes.

    Args:
        corner: the text at the top left.
        columns: for each title of a column its things, such as one a batch.
        rows: for each title of a row the function for its cells.

    >>> print(
    ...     grid("", {"odd": [1, 3], "even": [2, 4]}, {"number": str, "half": lambda n: str(n / 2)})
    ... )
    |  | odd | even |
    | --- | --- | --- |
    | number | 1 / 3 | 2 / 4 |
    | half | 0.5 / 1.5 | 1.0 / 2.0 |
    <BLANKLINE>
    """
    return table(
        [corner, *columns],
        (
            [title, *(" / ".join(map(text, things)) for things in columns.values())]
            for title, text in rows.items()
        ),
    )


def section(title: str, tables: Mapping[str, str], remarks: Sequence[str] = ()) -> str:
    r"""Tables under a title, each below its caption, and the notes on all.

    >>> print(section("odd", {"Counted:": "| 1 |\n"}))
    ## odd
    <BLANKLINE>
    Counted:
    <BLANKLINE>
    | 1 |
    <BLANKLINE>
    """
    captioned = [line for caption, table in tables.items() for line in (caption, "", table)]
    return "\n".join([f"## {title}", "", *captioned, *remarks])


def show(text: str, file: str | None) -> None:
    """Prints tables, and writes them to a file if there is to be one."""
    print(text)
    if file:
        write_text(file, text.rstrip() + "\n")


def by_column(
    network: str, side: int, things: Iterable[Measured], title: Callable[[Measured], str]
) -> tuple[str, dict[str, list[Measured]]]:
    """The corner of a grid of one network, and its columns: things that follow under one title."""
    columns = {head: list(those) for head, those in groupby(things, title)}
    batches = " / ".join(str(each.batch) for each in next(iter(columns.values())))
    return f"{network}, {side}x{side}, batch {batches}", columns
