"""Tables in Markdown."""

from collections.abc import Iterable, Sequence

from zoo import markdown_row


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with an empty line after it."""
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join(map(markdown_row, lines)) + "\n"
