"""The migrations of every service create the tables that its code declares, on both databases."""

import importlib
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import JSON, Column, MetaData, Uuid, bindparam, select, text

from shared.messaging.topology import Retry
from shared.runtime.reactor import Reactor
from shared.runtime.service import AnyService
from shared.storage import migrating, service_state
from shared.storage import tables as runtime
from shared.storage.columns import UtcTime
from shared.storage.database import Database
from shared.storage.failing_events import failing_events
from shared.storage.migrating import chains, migrate
from shop import registry
from tests.support.counting import ThingHappened, counting
from tests.support.deliveries import delivery_of

VERSION_TABLES = frozenset(chain.version_table for chain in chains(Path()))

OF_EXPRESSIONS = {
    "failures_by_ending",
    "shipments_newest",
    "shipments_shipped",
    "shipments_void",
    "shipments_open",
}
"""Indexes that Alembic cannot compare; tests/integration/test_query_plans.py shows their use."""


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
                "include_object": lambda _object, name, *_: (
                    name not in VERSION_TABLES | OF_EXPRESSIONS
                ),
            },
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based")
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


@contextmanager
def runtime_of(revision: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within the block, the runtime's chain ends with this revision."""
    runtime = migrating.RUNTIME
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    shutil.copy(runtime.versions.parent / "env.py", versions.parent)
    for path in runtime.versions.glob("0*.py"):
        if path.name[:4] <= revision:
            shutil.copy(path, versions)
    with monkeypatch.context() as before:
        before.setattr(migrating, "RUNTIME", replace(runtime, versions=versions))
        yield


def test_events_that_were_handled_before_digests_were_recorded_have_copies_only(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = counting()
    event = ThingHappened(name="a")
    with runtime_of("0003", tmp_path, monkeypatch):
        migrate(database, service.migrations)
        row = {"id": event.event_id, "at": datetime.now(UTC)}
        with database.begin() as connection:
            connection.execute(_INSERT_WITHOUT_DIGEST, row)

    assert migrate(database, service.migrations)

    reactor = Reactor(service=service, database=database, retry=Retry())
    again = event.model_copy(update={"secret": "other"})
    batch = reactor.react([delivery_of(each, queue="counting") for each in (event, again)])
    assert [each.duplicate for each in batch.results] == [True, True]


_INSERT_WITHOUT_DIGEST = text(
    "INSERT INTO inbox (event_id, event_type, outcome, occurred_at) "
    "VALUES (:id, 'thing.happened.v1', 'handled', :at)"
).bindparams(bindparam("id", type_=Uuid), bindparam("at", type_=UtcTime))


def test_a_database_of_the_version_before_gets_the_table_for_pauses(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = counting()
    with runtime_of("0006", tmp_path, monkeypatch):
        migrate(database, service.migrations)

    assert migrate(database, service.migrations)

    with database.begin() as connection:
        service_state.note_gateway(connection, database, "the mail server m:25")
        service_state.note_pause(connection, database, "first")
    with database.begin() as connection:
        began = service_state.find(connection).pause
        service_state.note_pause(connection, database, "second")
        noted = service_state.find(connection)
        service_state.end_pause(connection)
        ended = service_state.find(connection)
    assert began is not None
    assert noted.pause is not None
    assert (noted.pause.since, noted.pause.reason) == (began.since, "second")
    assert noted.pause.is_fresh
    assert ended == service_state.ServiceState("the mail server m:25")


def test_the_events_that_fail_during_an_upgrade_are_known_afterwards(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = counting()
    failing, dead, handled = uuid4(), uuid4(), uuid4()
    with runtime_of("0006", tmp_path, monkeypatch):
        migrate(database, service.migrations)
        with database.begin() as connection:
            connection.execute(_INSERT_WITHOUT_DIGEST, {"id": handled, "at": datetime.now(UTC)})
            for event_id, outcome in (
                (failing, "retried"),
                (failing, "retried"),
                (dead, "retried"),
                (dead, "dead"),
                (handled, "retried"),
            ):
                row = {"event_id": str(event_id), "event_type": "x", "attempt": 1, "replays": 0}
                texts = {"outcome": outcome, "error": "KeyError", "message": "", "traceback": ""}
                connection.execute(runtime.failures.insert(), [row | texts])

    assert migrate(database, service.migrations)

    with database.read() as connection:
        assert [each.event_id for each in failing_events(connection)] == [str(failing)]
        known = connection.execute(select(runtime.retried_events.c.event_id)).scalars().all()
    assert known == [str(failing)]
