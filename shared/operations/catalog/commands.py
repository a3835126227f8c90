"""The command `shop events catalog`; it needs no broker."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from shared.operations.console import AsJson, print_json, services_of, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.operations.catalog.catalog import CatalogEntry


class Format(StrEnum):
    """The output formats of the catalog."""

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
    """Show all events: versions, publishers, subscribers, and fields with their units."""
    from shared.operations.catalog.asyncapi import asyncapi
    from shared.operations.catalog.catalog import catalog

    services = services_of(context)
    if form is Format.ASYNCAPI:
        print_json(asyncapi(services))
        return
    entries = catalog(services)
    if form is Format.JSON_SCHEMA:
        print_json({entry.type: entry.schema for entry in entries})
    elif as_json:
        print_json([_record(entry) for entry in entries])
    else:
        _print_tables(entries)


def _record(entry: "CatalogEntry") -> dict[str, object]:
    from dataclasses import asdict

    record = asdict(entry)
    del record["schema"], record["examples"]
    for described in (record, *record["fields"]):
        described["says"] = described.pop("description")  # the name in JSON from the start
    return record


def _print_tables(entries: "Sequence[CatalogEntry]") -> None:
    events = [
        {
            "Event": entry.type,
            "Published by": ", ".join(entry.publishers),
            "Subscribers": ", ".join(entry.reactions),
            "Description": entry.description,
        }
        for entry in entries
    ]
    fields = [
        {
            "Event": entry.type if number == 0 else "",
            "Field": field.name + ("" if field.is_required else " (optional)"),
            "Kind": field.kind,
            "Limits": field.limits,
            "Unit": field.unit,
            "Description": field.description,
        }
        for entry in entries
        for number, field in enumerate(entry.fields)
    ]
    show(events, as_json=False)
    show(fields, as_json=False)
