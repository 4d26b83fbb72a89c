"""Every code block of the README and of docs/ runs, from top to bottom of its page."""

import ast
import importlib
import re
import shlex
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from virtualpool.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)  # in tabs, too
MAKES_AN_ENVIRONMENT = re.compile(r"^(pip install|make \w+|git clone|cd )")


def blocks(page: Path, language: str) -> list[str]:
    found = BLOCK.findall(page.read_text())
    return [textwrap.dedent(code) for _, kind, code in found if kind == language]


def commands(page: Path) -> list[str]:
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [line.partition("#")[0].strip() for line in lines if line.partition("#")[0].strip()]


def having(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


@pytest.mark.parametrize("page", having("python"), ids=lambda page: page.name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    for code in blocks(page, "python"):
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("page", having("sh"), ids=lambda page: page.name)
def test_commands_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for line in commands(page):
        program, *arguments = shlex.split(line)
        if program != "virtualpool":
            assert MAKES_AN_ENVIRONMENT.match(line), line
            continue
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (line, result.output)


def test_make_has_every_target_that_a_page_names():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for line in commands(page)
        for target in re.findall(r"^make (\w+)", line)
    }
    assert named == {"demo", "test"}
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


ROOMS = """
virtualpool virtualpool.bound virtualpool.cascade virtualpool.export virtualpool.fuse
virtualpool.measure
virtualpool.models virtualpool.recover virtualpool.report virtualpool.search
virtualpool.tasks.classification virtualpool.tasks.detection virtualpool.tasks.segmentation
""".split()


def test_the_api_has_every_public_name_once():
    pages = "".join(page.read_text() for page in (ROOT / "docs/api").glob("*.md"))
    public = {
        f"{thing.__module__}.{thing.__qualname__}"
        for room in map(importlib.import_module, ROOMS)
        for thing in (getattr(room, name) for name in room.__all__)
        if getattr(thing, "__module__", "").startswith("virtualpool")  # no constants, no aliases
    }
    assert sorted(re.findall(r"^::: (\S+)$", pages, re.MULTILINE)) == sorted(public)


def explained_errors() -> list[list[str]]:
    """The parts of each text between the dots that stand for values."""
    page = (ROOT / "docs/troubleshooting.md").read_text().partition("## Errors")[2]
    cells = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    texts = [text for cell in cells for text in re.findall("`(.*?)`", cell)]
    return [[part.strip() for part in text.split("...") if part.strip()] for text in texts]


def test_the_errors_that_are_explained_are_there():
    files = (ROOT / "src").rglob("*.py")
    source = re.sub(r'"\s*\n\s*f?"', "", "\n".join(file.read_text() for file in files))
    assert [parts for parts in explained_errors() if any(it not in source for it in parts)] == []


def test_every_error_is_explained():
    explained = [re.compile(".*".join(map(re.escape, parts))) for parts in explained_errors()]
    raised = [
        ast.unparse(node)
        for file in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "VirtualPoolError"
    ]
    unexplained = [it for it in raised if not any(text.search(it) for text in explained)]
    assert [it for it in unexplained if re.search("[a-z]+ [a-z]+ [a-z]+", it)] == []


def test_the_map_of_files_names_each_file_once():
    package = ROOT / "src" / "virtualpool"
    files = [path.relative_to(package).as_posix() for path in package.rglob("*.py")]
    named = re.findall(r"^\| `([\w/]+\.py)` \|", (ROOT / "docs/architecture.md").read_text(), re.M)
    assert sorted(named) == sorted(it for it in files if not it.endswith("__.py"))
