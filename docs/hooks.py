"""The site's links to files outside of docs/, which a checkout has, and the ends of its lines."""

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(?:#[^)]*)?\)")
CODE = r"<pre\b.*?</pre>|<code>.*?</code>"
APART = re.compile(rf"{CODE}|(?<=\d) (?=[%±]|ms\b)|(?<=±) (?=\d)", re.DOTALL)
HEADING = re.compile(r"<h[1-6].*?</h[1-6]>", re.DOTALL)
POINT = re.compile(r"(?<=\w)\.(?=\w)(?![^<>]*>)")
OPTION = re.compile(r"--[a-z][\w-]*")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """A link from a page to a file of the checkout becomes the path of that file."""
    folder = posixpath.dirname(posixpath.join("docs", page.file.src_uri))

    def named(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[2]))
        if path.startswith("docs/"):
            return link[0]
        return f"`{path}`" if link[1].strip("`") in path else f"{link[1]} (`{path}`)"

    return LINK.sub(named, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """No line ends inside of an option's name, or between a number and its unit or error.

    Of a long name in a heading the lines end at its points.
    """

    def kept(found: re.Match[str]) -> str:
        if found[0] == " ":
            return "&nbsp;"
        if found[0].startswith("<pre"):
            return found[0]
        return OPTION.sub(r'<span class="option">\g<0></span>', found[0])

    html = HEADING.sub(lambda found: POINT.sub(".<wbr>", found[0]), html)
    return APART.sub(kept, html)
