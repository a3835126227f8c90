"""The commands `shop events …`; those here need no broker: what events there are."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from shared.runtime.commands import AsJson, print_json, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.runtime.catalog import Entry
    from shared.runtime.service import AnyService

Type = Annotated[
    str | None, typer.Option("--type", help="Only this type: order.placed or order.placed.v1.")
]
Order = Annotated[str | None, typer.Option("--order", help="Only of this order.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="2d|3h|DATE", help="Only what occurred since.")
]

app = typer.Typer(help="Events: what there are, and what has happened.", no_args_is_help=True)


class Format(StrEnum):
    """How the catalog is printed."""

    TABLE = "table"
    JSON_SCHEMA = "json-schema"
    ASYNCAPI = "asyncapi"


@app.callback()
def events() -> None:
    """Events: what there are, and what has happened."""


def services_of(context: typer.Context) -> "list[AnyService]":
    """All services of the program that a command belongs to; the program hands them in."""
    found: list[AnyService] = context.obj()
    return found


@app.command("catalog")
def show_catalog(
    context: typer.Context,
    *,
    form: Annotated[
        Format, typer.Option("--format", help="A table, or a document for other programs.")
    ] = Format.TABLE,
    as_json: AsJson = False,
) -> None:
    """Show the contracts: types, versions, fields with units, who publishes and who subscribes."""
    from shared.runtime.asyncapi import asyncapi
    from shared.runtime.catalog import catalog

    services = services_of(context)
    if form is Format.ASYNCAPI:
        print_json(asyncapi(services))
        return
    entries = catalog(services)
    if form is Format.JSON_SCHEMA:
        print_json({each.type: each.schema for each in entries})
    elif as_json:
        print_json([_record(each) for each in entries])
    else:
        _print_tables(entries)


def _record(entry: "Entry") -> dict[str, object]:
    from dataclasses import asdict

    left_out = {"schema", "examples"}
    return {name: each for name, each in asdict(entry).items() if name not in left_out}


def _print_tables(entries: "Sequence[Entry]") -> None:
    said = [
        {
            "type": each.type,
            "publishers": ", ".join(each.publishers),
            "subscribers": ", ".join(each.reactions),
            "says": each.says,
        }
        for each in entries
    ]
    headings = {
        "type": "Event",
        "publishers": "Published by",
        "subscribers": "Who subscribes",
        "says": "What happened",
    }
    show(said, as_json=False, columns=headings)
    fields = [
        {
            "type": entry.type if number == 0 else "",
            "name": field.name + ("" if field.is_required else " (optional)"),
            "kind": field.kind,
            "limits": field.limits,
            "unit": field.unit,
            "says": field.says,
        }
        for entry in entries
        for number, field in enumerate(entry.fields)
    ]
    headings = {
        "type": "Event",
        "name": "Field",
        "kind": "Kind",
        "limits": "Limits",
        "unit": "Unit",
        "says": "What it is",
    }
    show(fields, as_json=False, columns=headings)
