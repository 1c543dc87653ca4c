"""The `bregma` command: its subcommands, and errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import bregma
from bregma.cli._atlas import atlas
from bregma.cli._compare import compare
from bregma.cli._papers import papers
from bregma.cli._read import read
from bregma.cli._show import problem
from bregma.cli._tour import tour
from bregma.cli._verify import verify
from bregma.errors import BregmaError

app = typer.Typer(
    name="bregma",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> bool:
    if wanted:
        print(f"bregma {bregma.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def bregma_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")
    ] = False,
) -> None:
    """One coordinate system for brains and networks: record, ask, get evidence."""


app.command()(compare)
app.command()(read)
app.command()(tour)
app.command()(papers)
app.command()(verify)
app.command()(atlas)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    The exit status is 0, 1 for an unexpected error, 2 for one that the user can mend, and 130
    after Ctrl-C. ``--debug`` anywhere shows the traceback.

    Parameters
    ----------
    args : sequence of str, optional
        Arguments; those of the process where they are not given.
    """
    args = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in args
    try:
        typer.main.get_command(app).main([a for a in args if a != "--debug"], prog_name="bregma")
    except SystemExit as leaving:
        if leaving.code == 130:
            problem("interrupted: nothing half-written is left behind", style="yellow")
        raise
    except (BregmaError, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        if debug:
            raise
        problem(f"error: {error}")
        sys.exit(2)
    except Exception as error:
        if debug:
            raise
        problem(
            f"unexpected {type(error).__name__}: {error} (this is a fault of bregma or of a "
            "library; --debug shows where)"
        )
        sys.exit(1)
