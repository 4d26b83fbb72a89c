"""Plain words: what users read is free of the phrases that the glossary has a better word for."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = "src/virtualpool/**/*.py src/virtualpool/**/*.jinja examples/*.py recipes/**/*.md".split()
READ = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
READ += [path for pattern in SOURCES for path in ROOT.glob(pattern)]

INSTEAD = {
    r"as(?: it is| they are)?[ -]written": "unfused",
    r"by turns": "interleaved",
    r"half(?: of)? the side": "half resolution",
    r"what(?:ever)? (?:is|was|are|were)": "the noun itself",
    r"that of": "the noun itself",
    r"whence": "where ... from",
}
PHRASES = re.compile(rf"\b(?:{'|'.join(INSTEAD)})\b")
BROKEN_LINE = re.compile(r'"?\n\s*(?:#|f?")?')
"""The end of a line and the beginning of the next one, in prose, comments and long strings."""


def phrases(text: str) -> list[str]:
    line = " ".join(BROKEN_LINE.sub(" ", text).lower().split())
    return [line[max(found.start() - 30, 0) : found.end() + 30] for found in PHRASES.finditer(line)]


@pytest.mark.parametrize("folder", sorted({path.parent for path in READ}), ids=lambda it: it.name)
def test_users_read_plain_words(folder: Path):
    said = {path.name: phrases(path.read_text()) for path in READ if path.parent == folder}
    assert {name: found for name, found in said.items() if found} == {}, INSTEAD


@pytest.mark.parametrize(
    "text",
    [
        "the map as it is written",
        "timed by\nturns",
        '"the original at half "\n    f"the side"',
        "# What\n# is pooled",
        "its time and that of the original",
    ],
)
def test_they_are_found_across_lines(text: str):
    assert len(phrases(text)) == 1
