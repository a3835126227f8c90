"""Shipping on PostgreSQL: concurrent processes with the same orders."""

from collections import Counter
from itertools import chain

from services.shipping.service import shipping
from shared.messaging.ports.consumer import Outcome
from shared.storage.database import Database
from shared.storage.migrating import migrate
from shared.testing import recording
from tests.support.order_events import paid, placed, reserved
from tests.support.racing import race


def test_three_concurrent_processes_ship_each_order_once(
    postgres_url: str,
) -> None:
    database = Database(postgres_url)
    migrate(database, shipping.migrations)
    batches = [[f"ORD-{batch}-{number}" for number in range(5)] for batch in range(20)]

    with recording() as published:
        reacted = race(
            shipping,
            database,
            [[placed(order_id) for order_id in batch] for batch in batches],
            [[paid(order_id) for order_id in reversed(batch)] for batch in batches],
            [[reserved(order_id) for order_id in batch] for batch in batches],
        )

    with database.read() as connection:
        listed = shipping.store(connection, database).listed(status="shipped", limit=1000)
    database.close()
    assert {each.outcome for each in reacted} == {Outcome.DONE}
    assert Counter(each.order_id for each in published) == Counter(chain(*batches))
    assert {each["order_id"]: each["tracking_number"] for each in listed} == {
        each.order_id: each.tracking_number for each in published
    }
