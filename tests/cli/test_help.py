"""The help of each command fits a screen, and all of it is there on demand."""

import re

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from virtualpool.cli import app
from virtualpool.cli.help import ADVANCED, EXAMPLES

COMMANDS = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
LINES = {80: 68, 100: 50}
"""Of a terminal with so many columns."""


def shown(command: str, option: str = "--help", columns: int = 80) -> str:
    result = CliRunner().invoke(app, [command, option], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.output
    return result.output


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def options_of(command: str) -> dict[str, set[str]]:
    return {
        param.name: {it for it in param.opts if it[:2] == "--"}
        for param in COMMANDS[command].params
    }


@pytest.mark.parametrize("columns", LINES)
@pytest.mark.parametrize("command", COMMANDS)
def test_it_fits_a_screen_and_ends_with_an_example(command: str, columns: int):
    lines = shown(command, columns=columns).strip().splitlines()
    assert len(lines) <= LINES[columns]
    assert max(map(len, lines)) <= columns
    assert " ".join(" ".join(lines[-3:]).split()).endswith(f"Example: {EXAMPLES[command]}")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_has_options_of_its_command(command: str):
    assert EXAMPLES[command].startswith(f"virtualpool {command}")
    assert options(EXAMPLES[command]) <= set().union(*options_of(command).values())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_shown_on_demand(command: str):
    known, advanced = options_of(command), ADVANCED.get(command, "").split()
    hidden = set().union(*(known[name] for name in advanced))
    every = set().union(*known.values())
    if not advanced:
        hidden = known["help_all"]  # it shows the same as --help
        assert shown(command, "--help-all").strip() == shown(command).strip()
        every -= hidden
    text = shown(command, "--help-all")
    assert every <= options(text)
    assert "…" not in text  # nothing is cut off
    assert "<bool>" not in text  # behind these stands nothing
    assert every & options(shown(command)) >= every - hidden
    assert hidden
