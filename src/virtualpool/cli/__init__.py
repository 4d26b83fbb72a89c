"""The command `virtualpool`."""

import sys
import traceback
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from virtualpool.cli import terminal
from virtualpool.cli.apply import apply
from virtualpool.cli.bench import bench
from virtualpool.cli.pick import pick
from virtualpool.cli.report import report
from virtualpool.cli.sensitivity import sensitivity
from virtualpool.cli.sites import sites
from virtualpool.cli.tune import tune
from virtualpool.errors import VirtualPoolError

REFUSED = 1
"""The exit code where something was refused or went wrong."""


class _Commands(TyperGroup):
    """Turns every end of a command into an exit code and at most a line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            terminal.messages().print("interrupted")
            raise typer.Exit(terminal.INTERRUPTED) from None
        except Exception as error:
            if hasattr(error, "exit_code"):  # typer's own: wrong usage, --help, a planned exit
                raise
            if ctx.params.get("debug"):
                traceback.print_exc()
            terminal.messages().print(_line(error))
            raise typer.Exit(REFUSED) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done, 1 refused or failed (one line says why), 2 wrong usage, "
    "130 interrupted.",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"virtualpool {version('virtualpool')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    show_version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version."),
    ] = False,
) -> None:
    """Turn a trained CNN into a set of faster ones by virtual pooling."""
    terminal.show_log()


for command in (sites, apply, sensitivity, tune, bench, pick, report):
    app.command()(command)


def main() -> None:
    """The entry point of the command line."""
    sys.exit(app())


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, VirtualPoolError):
        return f"error: {text}"
    return f"error: unexpected: {type(error).__name__}: {text:.300}; run again with --debug"
