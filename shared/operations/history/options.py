"""Command-line options that several of the commands `shop events …` share."""

from typing import Annotated

import typer

Type = Annotated[
    str | None, typer.Option("--type", help="Only this type: order.placed or order.placed.v1.")
]
Order = Annotated[str | None, typer.Option("--order", help="Only events of this order.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="2d|3h|DATE", help="Only events since then.")
]
