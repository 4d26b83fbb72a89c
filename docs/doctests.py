"""The docstrings of the site: examples become code, and each section has the name that is known."""

import re
from typing import Any

import griffe  # pyright: ignore[reportMissingImports]  (it is in the site's environment alone)

EXAMPLE = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)


class Doctests(griffe.Extension):
    """Fences around examples, which would be quotations in Markdown."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Every module, class, function and attribute of the source."""
        if obj.docstring:
            text = obj.docstring.value.replace("Raises (when called):", "Raises:")
            obj.docstring.value = EXAMPLE.sub(r"```pycon\n\g<0>\n```", text)
