"""A table of plain text, for values that people print."""

from collections.abc import Sequence


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side; one whose title begins with ">" is aligned to the right.

    >>> print(table(["site", ">MMACs"], [["conv1", "3.1"], ["layer1.0", "12.0"]]))
    site      MMACs
    conv1       3.1
    layer1.0   12.0
    """
    lines = [[title.lstrip(">") for title in columns], *rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    right = [title.startswith(">") for title in columns]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        )
        return "  ".join(aligned).rstrip()

    return "\n".join(map(line, lines))
