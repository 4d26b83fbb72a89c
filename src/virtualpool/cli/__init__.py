"""The command `virtualpool`."""

import sys
import traceback
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from virtualpool import processes
from virtualpool.cli import terminal
from virtualpool.cli.apply import apply
from virtualpool.cli.bench import bench
from virtualpool.cli.detect import detect
from virtualpool.cli.doctor import doctor
from virtualpool.cli.ending import end
from virtualpool.cli.export import export
from virtualpool.cli.help import name_kinds, register
from virtualpool.cli.interrupts import interrupts
from virtualpool.cli.pick import pick
from virtualpool.cli.report import report
from virtualpool.cli.sensitivity import sensitivity
from virtualpool.cli.sites import sites
from virtualpool.cli.streams import make_lasting
from virtualpool.cli.tune import tune
from virtualpool.errors import VirtualPoolError

REFUSED = 1
"""The exit code where something was refused or went wrong."""


class _Commands(TyperGroup):
    """Turns every end of a command into an exit code and at most a line."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        name_kinds(self.get_params(ctx))
        super().format_help(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        try:
            value = super().invoke(ctx)
        except KeyboardInterrupt:
            interrupts.is_ending = True
            raise typer.Exit(end(terminal.INTERRUPTED, "interrupted")) from None
        except Exception as error:
            code = getattr(error, "exit_code", None)
            if code is not None:  # typer's own: wrong usage, --help, a planned exit
                end(code)
                raise
            problem = _problem(error, debug=ctx.params.get("debug", False))
            raise typer.Exit(end(REFUSED, problem)) from None
        if code := end(0):
            raise typer.Exit(code)
        return value


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
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


for command in (sites, apply, sensitivity, tune, bench, pick, export, detect, report, doctor):
    register(app, command)


def main() -> None:
    """The entry point of the command line."""
    interrupts.install()
    make_lasting()
    terminal.announce_loading()
    with terminal.only_main_prints():
        try:
            sys.exit(app())
        except KeyboardInterrupt:  # before or after the command itself
            sys.exit(terminal.INTERRUPTED)
        finally:
            interrupts.is_ending = True
            processes.leave()


def _problem(error: Exception, *, debug: bool) -> str:
    trace = "".join(traceback.format_exception(error)) if debug else ""
    return trace + _line(error)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, VirtualPoolError):
        return f"error: {text}"
    kind = type(error).__name__
    return f"error: unexpected: {kind}: {text:.300}; run it as virtualpool --debug ..."
