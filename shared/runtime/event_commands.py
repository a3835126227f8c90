"""The commands `shop events …` that need no broker and no database: what contracts there are."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from shared.runtime.service import AnyService

app = typer.Typer(help="Events: what there are, and what has happened.", no_args_is_help=True)


@app.callback()
def events() -> None:
    """Events: what there are, and what has happened."""


def services_of(context: typer.Context) -> "list[AnyService]":
    """All services of the program that a command belongs to; the program hands them in."""
    found: list[AnyService] = context.obj()
    return found
