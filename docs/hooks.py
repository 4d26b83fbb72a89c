"""Links of the site: what lies outside of docs/ is in a checkout, and is named there."""

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """A link from a page to a file of the checkout becomes the path of that file."""
    folder = posixpath.dirname(posixpath.join("docs", page.file.src_uri))

    def named(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[2]))
        if path.startswith("docs/"):
            return link[0]
        return f"`{path}`" if link[1].strip("`") in path else f"{link[1]} (`{path}`)"

    return LINK.sub(named, markdown)
