"""The migrations of every service create the tables that its code declares, on both databases."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import JSON, Column, MetaData

from shared.runtime.service import AnyService
from shared.storage import tables as runtime
from shared.storage.columns import UtcTime
from shared.storage.database import Database
from shared.storage.migrating import chains, migrate
from shop import registry

VERSION_TABLES = frozenset(chain.version_table for chain in chains(Path()))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.docker)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'service.db'}")
    else:
        database = Database(request.getfixturevalue("postgres_url"))
    yield database
    database.close()


@pytest.mark.parametrize("service", registry.all_services(), ids=lambda each: each.name)
def test_a_migrated_database_has_the_declared_tables(
    service: AnyService, database: Database
) -> None:
    migrate(database, service.migrations)

    assert differences(database, declared(service)) == []


def test_a_difference_is_found(database: Database) -> None:
    orders = registry.service("orders")
    migrate(database, orders.migrations)
    metadata = declared(orders)
    metadata.tables["orders"].append_column(Column("colour", UtcTime))

    (found,) = differences(database, metadata)

    assert found[:3] == ("add_column", None, "orders")


def declared(service: AnyService) -> MetaData:
    """Copies of the runtime's tables and the service's own."""
    own = importlib.import_module(f"services.{service.name}.tables").metadata
    combined = MetaData()
    for table in (*runtime.metadata.sorted_tables, *own.sorted_tables):
        table.to_metadata(combined)
    return combined


def differences(database: Database, metadata: MetaData) -> list[tuple[object, ...]]:
    """The changes with which Alembic would make the database equal to the tables."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": _differ,
                "include_object": lambda _object, name, *_: name not in VERSION_TABLES,
            },
        )
        return list(compare_metadata(context, metadata))


def _differ(  # noqa: PLR0913, PLR0917 - Alembic's signature
    context: MigrationContext,
    inspected: Any,
    column: Any,
    actual: str | None,
    declared: Any,
    rendered: str | None,
) -> bool | None:
    """Whether JSON defaults differ, which Alembic cannot compare; None lets it compare others."""
    del context, inspected, declared
    if not isinstance(column.type, JSON):
        return None
    return (actual or "").removesuffix("::json").strip("'") != (rendered or "").strip("'")
