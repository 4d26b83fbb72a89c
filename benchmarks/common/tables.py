"""Tables in Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
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


def grid(corner: str, columns: Mapping[str, T], rows: Mapping[str, Callable[[T], str]]) -> str:
    """A table with a column for each thing, and a row for each text of it.

    >>> print(grid("", {"one": 1, "two": 2}, {"number": str, "half": lambda n: str(n / 2)}))
    |  | one | two |
    | --- | --- | --- |
    | number | 1 | 2 |
    | half | 0.5 | 1.0 |
    <BLANKLINE>
    """
    cells = ([title, *map(text, columns.values())] for title, text in rows.items())
    return table([corner, *columns], cells)


def by_images(
    network: str,
    found: Iterable[Measured],
    column: Callable[[Measured], str],
    rows: Mapping[str, Callable[[Measured], str]],
) -> str:
    """The measurements of one network: for each number of images so many rows, as in `grid`.

    Args:
        network: its name.
        found: all that was measured of it.
        column: the title of a measurement's column.
        rows: for each title of a row the function for its cells.
    """
    cells: dict[int, dict[str, Measured]] = {}
    for each in found:
        cells.setdefault(each.batch, {})[column(each)] = each
    heads = dict.fromkeys(head for those in cells.values() for head in those)
    return table(
        ["images", network, *heads],
        (
            [str(batch) if not index else "", title, *(text(those[head]) for head in heads)]
            for batch, those in cells.items()
            for index, (title, text) in enumerate(rows.items())
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
