"""Gather the verbs, and turn what a caller can mend into one sentence and an exit code.

A verb imports torch and what it needs inside its function, so that `--help` answers at once.
"""

import errno
import importlib
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from convgate.cli.options import look_here
from convgate.errors import InputError, printable

BAD_INPUT = 2
INTERRUPTED = 130


class Verbs(TyperGroup):
    """The verbs; what a caller can mend leaves as one sentence: 2 bad input, 130 Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise complain(str(error), BAD_INPUT) from error
        except OSError as error:
            raise complain(_of_system(error), BAD_INPUT) from error
        except KeyboardInterrupt as error:
            sentence = "stopped; the same command continues a study or training where it was"
            raise complain(sentence, INTERRUPTED) from error


_NO_ROOM = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("your share of the disk is used up", "free some of it"),
    errno.EFBIG: ("the limit on a file's size is reached", "raise it (ulimit -f)"),
}


def _of_system(error: OSError) -> str:
    """Say what the system could not do, and where; an error that names no file is our mistake."""
    if error.errno in _NO_ROOM:
        reason, way = _NO_ROOM[error.errno]
        place = f" at {error.filename}" if error.filename else ""
        return f"{reason}{place}; {way} and run the same command again"
    if error.filename is None:
        raise error
    return (
        f"{error.filename}: cannot be read or written ({error.strerror}); choose another place, or "
        "see that it is there and open to you"
    )


def complain(sentence: str, code: int) -> typer.Exit:
    """Print one sentence on standard error; return what ends the command with ``code``."""
    sys.stdout.flush()
    typer.echo(f"convgate: {printable(sentence)}", err=True)
    return typer.Exit(code)


app = typer.Typer(
    cls=Verbs,
    name="convgate",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"convgate {version('convgate')}")
        raise typer.Exit


@app.callback()
def convgate(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
    gate_module: Annotated[
        list[str] | None,
        typer.Option(
            "--gate-module",
            help="Import this module first: its gates may be in files and recipes. Repeatable.",
        ),
    ] = None,
) -> None:
    """Choose, insert, train, measure and ship cheap attention for ConvNets."""
    for name in gate_module or ():
        look_here()
        try:
            importlib.import_module(name)
        except Exception as error:  # any code may run in the module
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"--gate-module {name}: cannot be imported ({reason})") from error


def examples(*commands: str) -> str:
    """Return the Examples block below a verb's help: its `epilog`, one command a line."""
    return "\n\n".join(["Examples:", *commands]).replace("[", "\\[")


def main() -> None:
    """Run the command line and exit with its code."""
    app()
