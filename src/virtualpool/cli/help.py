"""Help that fits a screen: the main options and an example; `--help-all` shows every option."""

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

EXAMPLES = {
    "sites": "virtualpool sites network.py:build --size 224",
    "apply": "virtualpool apply network.py:build all --images FOLDER --output pooled.safetensors",
    "sensitivity": "virtualpool sensitivity network.py:build --weights last.pt --data FOLDER",
    "tune": "virtualpool tune network.py:build --weights last.pt --data FOLDER "
    "--run-dir runs/first",
    "bench": "virtualpool bench network.py:build pooled.safetensors --weights last.pt --threads 1",
    "pick": "virtualpool pick runs/first --max-drop 0.01 --output fast.safetensors",
    "export": "virtualpool export network.py:build fast.safetensors --output fast.onnx",
    "detect": "virtualpool detect --run-dir runs/first --output pictures",
    "report": "virtualpool report runs/first",
    "doctor": "virtualpool doctor",
}

_ENERGY = "energy_from energy_unit energy_interval energy_idle energy_repeats"
_PREPARED = "resize mean std"
_JUDGED = f"{_PREPARED} metric ignore subset batch_size workers labels seed"
ADVANCED = {
    "tune": f"""
        {_JUDGED} energy {_ENERGY} threads dtype channels_last repeats
        recoverable border compare at_chance wide image_scales
        rounds sizes thresholds per_layer by_time rounds_file
        reconstruction_images site_weight steps learning_rate optimizer rate_schedule drop_steps
        ema clip mixed_precision augment
    """,
    "sensitivity": _JUDGED,
    "bench": f"{_ENERGY} dtype channels_last border image_scale",
    "export": f"{_PREPARED} images_count threads input_shape weights",
}
"""The options, by command, that `--help` leaves to `--help-all`."""

_ALL = "virtualpool.help_all"


def register(app: typer.Typer, command: Callable[..., None]) -> None:
    """Adds a command with its example and `--help-all`, which `--help` names where it says more."""
    epilog = f"Example: {EXAMPLES[command.__name__]}"
    app.command(cls=Command, help=_unbroken(command.__doc__ or ""), epilog=epilog)(
        _with_help_all(command)
    )


def _unbroken(text: str) -> str:
    r"""A docstring with each paragraph on one line: typer keeps the breaks of the source.

    >>> _unbroken("Pool sites.\n\n    Solved, and\n    compared.")
    'Pool sites.\n\nSolved, and compared.'
    """
    return re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(text))


def spelled_out(args: list[str], threefold: set[str]) -> list[str]:
    """The arguments, with three numbers behind each option that takes three.

    >>> spelled_out(["--mean", ".5,.4,.3", "--std", "0.5", "--size", "32"], {"--mean", "--std"})
    ['--mean', '.5', '.4', '.3', '--std', '0.5', '0.5', '0.5', '--size', '32']
    """
    spelled: list[str] = []
    for place, (before, argument) in enumerate(zip(["", *args], args, strict=False)):
        parts = argument.split(",")
        is_alone = before in threefold and not any(map(_is_number, args[place + 1 : place + 2]))
        if before in threefold and len(parts) == 3:
            spelled += parts
        elif is_alone and _is_number(argument):
            spelled += [argument] * 3
        else:
            spelled.append(argument)
    return spelled


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Command(TyperCommand):
    """A command whose `--help` has no more options than fit a screen."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments; the three numbers of a colour may be one, or have commas."""
        threefold = {name for each in self.params if each.nargs == 3 for name in each.opts}
        return super().parse_args(ctx, spelled_out(args, threefold))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the help."""
        advanced = ADVANCED.get(self.name or "", "").split()
        for param in name_kinds(self.get_params(ctx)):
            # Only now: the shell does not complete an option that is hidden.
            param.hidden = param.name in advanced and _ALL not in ctx.meta
            if param.name == _HELP_ALL.name:
                param.hidden = not advanced
        super().format_help(ctx, formatter)


def name_kinds(params: Sequence[Any]) -> Sequence[Any]:
    """Options that say what stands behind them: nothing behind those that take no value."""
    for param in params:
        if param.metavar is None and getattr(param, "is_flag", False):
            param.metavar = ""
        elif param.metavar is None and getattr(param, "min", None) is not None:
            param.metavar = "N"
    return params


def _show_all(ctx: typer.Context, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        typer.echo(ctx.get_help(), nl=False)
        raise typer.Exit


_HELP_ALL = inspect.Parameter(
    "help_all",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        typer.Option(
            "--help-all", is_eager=True, callback=_show_all, help="Show every option and exit."
        ),
    ],
)


def _with_help_all(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def shown(help_all: bool = False, **given: Any) -> None:
        command(**given)

    asked = inspect.signature(command)
    shown.__signature__ = asked.replace(  # pyright: ignore[reportAttributeAccessIssue]
        parameters=[*asked.parameters.values(), _HELP_ALL]
    )
    shown.__annotations__ = {**command.__annotations__, "help_all": _HELP_ALL.annotation}
    return shown
