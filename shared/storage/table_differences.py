"""Compares the tables that the code declares with those that a database has."""

import sys
from collections.abc import Iterator

from sqlalchemy import Column, Table, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn

from shared.storage.database import Database
from shared.storage.tables import metadata
from shared.storage.unit_of_work import Store


def table_differences(database: Database, store: type[Store]) -> list[str]:
    """What a database lacks of the runtime's tables and of a service's own, a sentence each.

    A column that nothing writes counts too, if no row can be inserted without it. Types and indexes
    are not compared.

    Args:
        store: the service's; its tables are those that its module imports.
    """
    tables = {table.name: table for table in (*metadata.sorted_tables, *_tables_of(store))}
    with database.read() as connection:
        inspector = inspect(connection)
        existing = inspector.get_multi_columns(filter_names=list(tables))
    columns = {name: found for (_, name), found in existing.items()}
    return [
        sentence
        for name, table in sorted(tables.items())
        for sentence in _differences(table, columns.get(name))
    ]


def _tables_of(store: type[Store]) -> Iterator[Table]:
    modules = {sys.modules[kind.__module__] for kind in store.__mro__}
    names = [value for module in modules for value in vars(module).values()]
    for each in {value.metadata for value in names if isinstance(value, Table)}:
        yield from each.sorted_tables


def _differences(table: Table, existing: list[ReflectedColumn] | None) -> Iterator[str]:
    if not existing:
        yield f"the table {table.name} is missing"
        return
    found = {column["name"]: column for column in existing}
    declared: dict[str, Column[object]] = {column.name: column for column in table.columns}
    for name in declared.keys() - found.keys():
        yield f"the table {table.name} lacks the column {name}"
    for name in found.keys() - declared.keys():
        if not found[name]["nullable"] and found[name]["default"] is None:
            yield f"the table {table.name} needs the column {name}, which the code does not have"
