"""Rebuilds of services whose database is PostgreSQL."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from services.analytics.service import analytics
from services.loyalty.service import loyalty
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.topology import Topology
from shared.operations.history.rebuild import Rebuild, RebuildResult
from shared.runtime.service import AnyService
from shared.runtime.service_settings import queue_of
from shared.storage.database import Database
from shared.storage.migrating import migrate
from tests.support.order_events import cancelled, paid, placed, shipped
from tests.support.tape import message

SLOW_DELETE = """
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
    CREATE TRIGGER slow AFTER DELETE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION wait();
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with closing(EmbeddedBroker(tmp_path / "broker.db")) as broker:
        broker.set_up(Topology(queues=tuple(queue_of(each) for each in (analytics, loyalty))))
        events = [
            make_event(f"ORD-{number}")
            for number in range(300)
            for make_event in (placed, paid, shipped, cancelled)
        ]
        broker.publisher().publish([message(event) for event in events])
        yield broker


def rebuild(service: AnyService, url: str, broker: EmbeddedBroker) -> RebuildResult:
    with closing(Database(url)) as database:
        migrate(database, service.migrations)
        return Rebuild(
            service=service,
            database=database,
            broker=broker,
            history=broker.history(),
            batch_size=100,
            on_progress=lambda _next_offset, _end: None,
            on_unreadable=lambda _: None,
        ).run()


@pytest.mark.parametrize(
    ("service", "events"), [(analytics, 1200), (loyalty, 600)], ids=["analytics", "loyalty"]
)
def test_a_rebuilt_service_has_the_same_state_as_before(
    service: AnyService, events: int, postgres_url: str, broker: EmbeddedBroker
) -> None:
    first = rebuild(service, postgres_url, broker)
    second = rebuild(service, postgres_url, broker)

    assert (first.handled, second.handled) == (events, events)
    assert not first.is_identical
    assert second.is_identical


def test_emptying_a_large_table_is_exempt_from_the_statement_timeout(
    postgres_url: str, broker: EmbeddedBroker
) -> None:
    rebuild(loyalty, postgres_url, broker)
    with closing(Database(postgres_url)) as database, database.begin() as connection:
        connection.execute(text(SLOW_DELETE.format(table="awards")))
        name = connection.engine.url.database
        connection.execute(text(f'ALTER DATABASE "{name}" SET statement_timeout = 400'))

    assert rebuild(loyalty, postgres_url, broker).is_identical
