"""Gather the verbs, and turn what a caller can mend into one sentence and exit code 2.

A verb imports torch and what it needs inside its function, so that `--help` answers at once.
"""

import errno
import sys

import click
import typer
from rich.console import Console

from convgate.errors import InputError

app = typer.Typer(
    name="convgate",
    help="Choose, insert, train, measure and ship cheap attention for ConvNets.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line and exit: 0 done, 2 bad input, 130 stopped by Ctrl-C."""
    try:
        code = app(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except InputError as error:
        code = complain(str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        code = complain(f"the disk is full: {error.filename or 'no space left'}; free some space")
    except (KeyboardInterrupt, click.Abort):
        complain("stopped; the same command continues a study or a training run where it was")
        code = 130
    sys.exit(code)


def complain(sentence: str) -> int:
    """Print one sentence on standard error."""
    Console(stderr=True, highlight=False).print(
        f"convgate: {sentence}", markup=False, soft_wrap=True
    )
    return 2
