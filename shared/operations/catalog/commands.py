"""The command `shop events catalog`; it needs no broker."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from shared.operations.console import AsJson, print_json, services_of, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.operations.catalog.catalog import Entry


class Format(StrEnum):
    """How the catalog is printed."""

    TABLE = "table"
    JSON_SCHEMA = "json-schema"
    ASYNCAPI = "asyncapi"


def show_catalog(
    context: typer.Context,
    *,
    form: Annotated[
        Format, typer.Option("--format", help="A table, or a document for other programs.")
    ] = Format.TABLE,
    as_json: AsJson = False,
) -> None:
    """Show the contracts: types, versions, fields with units, who publishes and who subscribes."""
    from shared.operations.catalog.asyncapi import asyncapi
    from shared.operations.catalog.catalog import catalog

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
